"""Find by a function whether a place in the order of tasks is free: it sees what was committed after its caller began.

Revision: 0015, after 0014.
"""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# Volatile, so that its query has a snapshot of its own, and in PL/pgSQL, so that this is planned once.
_FUNCTION = """
CREATE OR REPLACE FUNCTION is_place_free(project bigint, task bigint, low text, high text) RETURNS boolean
LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN NOT EXISTS (
        SELECT FROM tasks t WHERE t.project_id = project AND t.id <> task
            AND COALESCE(t.position, position_of(t.id)) > COALESCE(low, '')
            AND COALESCE(t.position, position_of(t.id)) < COALESCE(high, '~')
    );
END
$$
"""


def upgrade() -> None:
    """Create the function; the version before does not call it."""
    op.execute(_FUNCTION)


def downgrade() -> None:
    """Drop it."""
    op.execute("DROP FUNCTION is_place_free(bigint, bigint, text, text)")
