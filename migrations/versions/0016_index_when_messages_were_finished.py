"""Index only finished messages by the time of their end, so that open ones are found by their own index.

Revision: 0016, after 0015.
"""

from taskmanager.database.schema_migrations import build_index

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_NAME = "webhook_deliveries_finished_at_idx"
_FORMER_INDEX = "webhook_deliveries USING btree (finished_at)"


def upgrade() -> None:
    """Build the index anew; writers go on meanwhile, and the version before finds the same by it."""
    build_index(_NAME, f"{_FORMER_INDEX} WHERE finished_at IS NOT NULL")


def downgrade() -> None:
    """Build the index of the version before."""
    build_index(_NAME, _FORMER_INDEX)
