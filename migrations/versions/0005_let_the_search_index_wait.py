"""Let new entries of the search index wait longer to be sorted in.

Revision: 0005, after 0004.
"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Raise the limit, in kB."""
    op.execute("ALTER INDEX tasks_search_idx SET (gin_pending_list_limit = 16384)")


def downgrade() -> None:
    """Return to the server's own."""
    op.execute("ALTER INDEX tasks_search_idx RESET (gin_pending_list_limit)")
