"""Add the tickets that open streams of events.

Revision: 0009, after 0008.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.execute(
        """
        CREATE TABLE stream_tickets (
            secret_hash bytea NOT NULL CONSTRAINT stream_tickets_pkey PRIMARY KEY,
            user_id bigint NOT NULL,
            session_id bigint,
            key_id bigint,
            expires_at timestamptz NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX stream_tickets_expires_at_idx ON stream_tickets (expires_at)")


def downgrade() -> None:
    """Drop the table; those who hold a ticket ask for another."""
    op.execute("DROP TABLE stream_tickets")
