"""Find tags that are not in Unicode's form C by a function, so that a write prepares one call instead of twenty.

Revision: 0014, after 0013.
"""

from alembic import op

from taskmanager.database.schema_migrations import build_index

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_FUNCTION = """
CREATE OR REPLACE FUNCTION are_composed(texts text[]) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    one text;
BEGIN
    FOREACH one IN ARRAY texts LOOP
        IF octet_length(one) > length(one) AND one IS NOT NFC NORMALIZED THEN
            RETURN false;
        END IF;
    END LOOP;
    RETURN true;
END
$$
"""
# As PostgreSQL writes it, so that an index that is complete is recognised after an interruption.
_TEXTS = " OR ".join(
    f"octet_length({one}) > length({one}) AND NOT ({one} IS NFC NORMALIZED)" for one in ("title", "description")
)
_INDEX = f"tasks USING btree (project_id, id) WHERE {_TEXTS} OR NOT are_composed(tags)"
_FORMER_TAGS = " OR ".join(f"NOT (tags[{n}] IS NFC NORMALIZED)" for n in range(1, 21))
_FORMER_INDEX = f"tasks USING btree (project_id, id) WHERE {_TEXTS} OR {_FORMER_TAGS}"


def upgrade() -> None:
    """Build the index anew; writers go on meanwhile, and the version before reads all tasks to find such texts."""
    op.execute(_FUNCTION)
    build_index("tasks_not_composed_idx", _INDEX)


def downgrade() -> None:
    """Build the index of the version before, and drop the function."""
    build_index("tasks_not_composed_idx", _FORMER_INDEX)
    op.execute("DROP FUNCTION are_composed(text[])")
