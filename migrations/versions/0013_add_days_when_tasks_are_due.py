"""Let tasks be due on a day and begin at a time, and index when they are due.

Revision: 0013, after 0012.
"""

import sqlalchemy as sa
from alembic import op

from taskmanager.database.schema_migrations import build_index, drop_index

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_COLUMNS = (
    "ALTER TABLE tasks ADD COLUMN IF NOT EXISTS due_on date",
    "ALTER TABLE tasks ADD COLUMN IF NOT EXISTS start_at timestamptz",
)
_CHECK = "ALTER TABLE tasks ADD CONSTRAINT tasks_due_check CHECK (due_at IS NULL OR due_on IS NULL) NOT VALID"
_HAS_CHECK = sa.text(
    "SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass('tasks') AND conname = 'tasks_due_check')"
)
_HAS_USERS = sa.text("SELECT EXISTS (SELECT FROM users)")
# As PostgreSQL writes it, so that an index that is complete is recognised after an interruption.
_DUE = "COALESCE(due_at, ((due_on + 1)::timestamp without time zone AT TIME ZONE 'UTC'::text))"
_INDEX = f"tasks USING btree (project_id, {_DUE}, created_at, id) WHERE {_DUE} IS NOT NULL"
_FORMER_INDEX = "tasks USING btree (project_id, due_at, created_at, id) WHERE due_at IS NOT NULL"
# The version before does not know of days: where it sets a moment, that counts. This version says 422 before.
_TRIGGER = (
    """
    CREATE FUNCTION keep_due_at_alone() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.due_on := NULL;
        RETURN NEW;
    END
    $$
    """,
    """
    CREATE TRIGGER tasks_due_trigger BEFORE UPDATE OF due_at ON tasks FOR EACH ROW
    WHEN (NEW.due_at IS NOT NULL AND NEW.due_on IS NOT NULL) EXECUTE FUNCTION keep_due_at_alone()
    """,
)


def upgrade() -> None:
    """Add columns and an index; writers go on meanwhile, and the version before keeps its own index."""
    is_printed = op.get_context().as_sql
    for statement in _COLUMNS:
        op.execute(statement)
    if is_printed or not op.get_bind().execute(_HAS_CHECK).scalar():
        op.execute(_CHECK)
    build_index("tasks_due_idx", _INDEX)
    op.execute("ALTER TABLE tasks VALIDATE CONSTRAINT tasks_due_check")
    # Of the expression in a partial index the planner learns nothing without it.
    op.execute(f"CREATE STATISTICS IF NOT EXISTS tasks_due_stats ON ({_DUE}) FROM tasks")
    op.execute("ANALYZE tasks")
    # Only in a database without users does no older version need it.
    if not is_printed and not op.get_bind().execute(_HAS_USERS).scalar():
        drop_index("tasks_due_at_idx")
    for statement in _TRIGGER:
        op.execute(statement)


def downgrade() -> None:
    """Drop them, and create the index of the version before where it is missing."""
    op.execute(f"CREATE INDEX IF NOT EXISTS tasks_due_at_idx ON {_FORMER_INDEX}")
    op.execute("DROP INDEX tasks_due_idx")
    op.execute("DROP STATISTICS tasks_due_stats")
    op.execute("DROP TRIGGER tasks_due_trigger ON tasks")
    op.execute("DROP FUNCTION keep_due_at_alone()")
    op.execute("ALTER TABLE tasks DROP COLUMN due_on, DROP COLUMN start_at")
