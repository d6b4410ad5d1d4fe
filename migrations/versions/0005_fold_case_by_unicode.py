"""Index titles, descriptions and names without case by Unicode's rules, and the texts that are not in form C.

Revision: 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op

from taskmanager.database.database import SchemaError
from taskmanager.database.schema_migrations import build_index, drop_index

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TITLE = "casefold(lower(title COLLATE pg_c_utf8)) gin_trgm_ops"
_DESCRIPTION = "casefold(lower(description COLLATE pg_c_utf8)) gin_trgm_ops"


def _not_composed(*texts: str, lists: tuple[str, ...] = ()) -> str:
    conditions = [f"octet_length({one}) > length({one}) AND NOT ({one} IS NFC NORMALIZED)" for one in texts]
    conditions += [f"NOT ({one}[{n}] IS NFC NORMALIZED)" for one in lists for n in range(1, 21)]
    return " OR ".join(conditions)


# As PostgreSQL writes them, so that those that are complete are recognised after an interruption.
_INDEXES = {
    "tasks_folded_title_idx": (
        'tasks USING btree (project_id, lower(title COLLATE pg_c_utf8) COLLATE "C", created_at, id)'
    ),
    "tasks_folded_search_idx": f"tasks USING gin (project_id, tags, {_TITLE}, {_DESCRIPTION})",
    "tasks_not_composed_idx": (
        f"tasks USING btree (project_id, id) WHERE {_not_composed('title', 'description', lists=('tags',))}"
    ),
    "comments_not_composed_idx": f"comments USING btree (project_id, id) WHERE {_not_composed('body')}",
    "projects_not_composed_idx": f"projects USING btree (id) WHERE {_not_composed('name', 'description')}",
    "api_keys_not_composed_idx": f"api_keys USING btree (id) WHERE {_not_composed('name')}",
    "users_not_composed_idx": f"users USING btree (id) WHERE {_not_composed('email')}",
}
_FORMER_INDEXES = {
    "tasks_title_idx": 'tasks USING btree (project_id, lower(title) COLLATE "C", created_at, id)',
    "tasks_search_idx": "tasks USING gin (project_id, tags, title gin_trgm_ops, description gin_trgm_ops)",
}
_SAME_NAMES = sa.text("""
    SELECT string_agg(username, ' and ' ORDER BY id) FROM users WHERE username IS NOT NULL
    GROUP BY lower(username COLLATE pg_c_utf8) HAVING count(*) > 1 LIMIT 1
""")


def upgrade() -> None:
    """Create indexes; writers go on meanwhile, and the version before keeps its own indexes."""
    is_printed = op.get_context().as_sql
    # A database with a Turkish locale takes ALI and ali for different names.
    if not is_printed and (names := op.get_bind().execute(_SAME_NAMES).scalar()):
        raise SchemaError(f"the user names {names} differ in case only: rename one of them, then migrate again")
    for name, definition in _INDEXES.items():
        build_index(name, definition)
    build_index("users_folded_username_idx", "users USING btree (lower(username COLLATE pg_c_utf8))", unique=True)
    # Without it the planner knows nothing of the texts in the new indexes.
    op.execute("ANALYZE tasks")
    # Only in a database without users does no older version need them.
    if not is_printed and not op.get_bind().execute(sa.text("SELECT EXISTS (SELECT FROM users)")).scalar():
        for name in _FORMER_INDEXES:
            drop_index(name)


def downgrade() -> None:
    """Drop them, and create those of the version before where they are missing."""
    for name, definition in _FORMER_INDEXES.items():
        op.execute(f"CREATE INDEX IF NOT EXISTS {name} ON {definition}")
    for name in (*_INDEXES, "users_folded_username_idx"):
        op.execute(f"DROP INDEX {name}")
