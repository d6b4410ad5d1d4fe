"""Let features write events of kinds of their own.

Revision: 0007, after 0006.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop the list of the kinds."""
    # No client assumes it: older versions write the kinds that it allows, and read any.
    op.execute(
        """
        -- squawk-ignore ban-drop-constraint
        ALTER TABLE events DROP CONSTRAINT IF EXISTS events_entity_check
        """
    )


def downgrade() -> None:
    """Demand those of before again."""
    op.execute("ALTER TABLE events DROP CONSTRAINT IF EXISTS events_entity_check")
    op.execute(
        """
        ALTER TABLE events ADD CONSTRAINT events_entity_check
        CHECK (entity IN ('project', 'member', 'task', 'comment')) NOT VALID
        """
    )
    op.execute("ALTER TABLE events VALIDATE CONSTRAINT events_entity_check")
