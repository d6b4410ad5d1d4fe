"""Index administrators, disabled accounts, and the notifications that were read.

Revision: 0006, after 0005.
"""

from alembic import op

from taskmanager.database.schema_migrations import build_index

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# As PostgreSQL writes them, so that those that are complete are recognised after an interruption.
_INDEXES = {
    "users_administrators_idx": "users USING btree (id) WHERE is_admin",
    "users_disabled_idx": "users USING btree (id) WHERE disabled AND deleted_at IS NULL",
    "notifications_read_at_idx": "notifications USING btree (read_at) WHERE read_at IS NOT NULL",
}


def upgrade() -> None:
    """Create the indexes; writers go on meanwhile."""
    for name, definition in _INDEXES.items():
        build_index(name, definition)


def downgrade() -> None:
    """Drop them."""
    for name in _INDEXES:
        op.execute(f"DROP INDEX {name}")
