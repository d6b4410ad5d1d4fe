"""Add the permits taken of the rate limits.

Revision: 0004, after 0003.
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    # Unlogged: a write costs no more than memory, and a crash of the server empties it.
    op.execute(
        """
        CREATE UNLOGGED TABLE rate_limits (
            key text NOT NULL CONSTRAINT rate_limits_pkey PRIMARY KEY,
            used bigint NOT NULL,
            quota bigint NOT NULL,
            resets_at timestamptz NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX rate_limits_resets_at_idx ON rate_limits (resets_at)")


def downgrade() -> None:
    """Drop the table."""
    op.execute("DROP TABLE rate_limits")
