"""${message[:1].upper()}${message[1:]}.

Revision: ${up_revision}, after ${down_revision}.
"""

from alembic import op

revision = "${up_revision}"
down_revision = "${down_revision}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""


def downgrade() -> None:
    """Take the change back."""
