"""Give people a display name and a time zone, and find what they have written by its author.

Revision: 0011, after 0010.
"""

from alembic import op

from taskmanager.database.schema_migrations import build_index

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_COLUMNS = (
    "ALTER TABLE users ADD COLUMN IF NOT EXISTS display_name text",
    "ALTER TABLE users ADD COLUMN IF NOT EXISTS time_zone text DEFAULT 'UTC' NOT NULL",
)
# As PostgreSQL writes them, so that those that are complete are recognised after an interruption.
_INDEXES = {
    "users_left_names_idx": "users USING btree (id) WHERE deleted_at IS NOT NULL AND display_name IS NOT NULL",
    "tasks_created_by_idx": "tasks USING btree (created_by, project_id)",
    "comments_author_idx": "comments USING btree (author_id, project_id)",
}
_CONSTRAINTS = {
    "users_display_name_check": "length(display_name) BETWEEN 1 AND 100",
    "users_time_zone_check": "length(time_zone) BETWEEN 1 AND 100",
}


def upgrade() -> None:
    """Add them; the version before keeps running, and leaves the name of an account that it deletes."""
    for statement in _COLUMNS:
        op.execute(statement)
    for name, condition in _CONSTRAINTS.items():
        op.execute(
            f"""
            -- squawk-ignore ban-drop-constraint
            ALTER TABLE users DROP CONSTRAINT IF EXISTS {name}, ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID
            """
        )
    # Commits what was done before, so that the rows are looked through without a lock in the way of others.
    for name, definition in _INDEXES.items():
        build_index(name, definition)
    for name in _CONSTRAINTS:
        op.execute(f"ALTER TABLE users VALIDATE CONSTRAINT {name}")


def downgrade() -> None:
    """Drop them, and with them what people are called."""
    for name in _INDEXES:
        op.execute(f"DROP INDEX {name}")
    for column in ("display_name", "time_zone"):
        op.execute(f"ALTER TABLE users DROP COLUMN {column}")
