"""Let nobody wait long for the start of an epoch.

Revision: 0014, after 0013.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Give up soon on the lock of the log: all writers wait behind it, while a long transaction has read there."""
    op.execute("ALTER FUNCTION start_epoch(uuid) SET lock_timeout = '50ms'")


def downgrade() -> None:
    """Wait as long as the session does again."""
    op.execute("ALTER FUNCTION start_epoch(uuid) RESET lock_timeout")
