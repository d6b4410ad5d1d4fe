"""The statements on sections; membership is part of each WHERE clause.

What depends on more rows than it locks, as their number and their order do, has its project locked by a statement of
its own before.
"""

from taskmanager.database.json_rows import json_object
from taskmanager.database.statements import Statement, Write
from taskmanager.events.followed import FollowedEntity
from taskmanager.events.statements import EVENT_COLUMNS, changed_fields
from taskmanager.ordering.positions import lock_of_order, position
from taskmanager.roles import may_write
from taskmanager.sections.schemas import MOST_SECTIONS, SectionRead

# A deletion changes every task that was in the section.
MOST_TASKS = 5_000


def _as_json(alias: str) -> str:
    return json_object(SectionRead, alias, position=position(alias))


def _as_bytes(alias: str) -> str:
    return f"convert_to({_as_json(alias)}, 'UTF8')"


FOLLOWED = FollowedEntity("section", "sections", _as_json("r"), SectionRead, is_bound=True)

_VISIBLE = """(
    SELECT project_id FROM project_members WHERE project_id = :project_id AND user_id = :user_id
) AS a"""
FIND = Statement(
    "find section",
    f"""
SELECT s.version, {_as_bytes("s")} AS body
FROM {_VISIBLE} JOIN sections s ON s.project_id = a.project_id AND s.id = :section_id
""",
    shared=True,
)
FIND_VERSION = Statement(
    "find version of section",
    f"SELECT s.version FROM {_VISIBLE} JOIN sections s ON s.project_id = a.project_id AND s.id = :section_id",
    shared=True,
)
LIST = Statement(
    "list sections",
    f"""
SELECT page.items FROM {_VISIBLE} CROSS JOIN LATERAL (
    SELECT convert_to(string_agg({_as_json("s")}, ',' ORDER BY {position("s")}), 'UTF8') AS items
    FROM sections s WHERE s.project_id = a.project_id
) AS page
""",
    shared=True,
)

_ACCESS = """
access AS MATERIALIZED (
    SELECT p.id AS project_id, p.archived, m.role
    FROM projects p JOIN project_members m ON m.project_id = p.id AND m.user_id = :user_id
    WHERE p.id = :project_id {lock}
)"""
_MAY_WRITE = may_write("a.role", "a.archived")

# The project stays until the end, and nobody removes its members or deletes its sections meanwhile.
LOCK_ORDER = Write(
    "lock order of sections",
    f"""
{_ACCESS.format(lock="FOR KEY SHARE OF p")}, locked AS MATERIALIZED (
    SELECT a.project_id, {lock_of_order("a.project_id", "sections")} IS NULL AS is_void FROM access a WHERE {_MAY_WRITE}
)""",
    "SELECT a.role, a.archived, locked.is_void FROM access a LEFT JOIN locked ON true",
)

CREATE = Write(
    "create section",
    f"""
{_ACCESS.format(lock="")}, s AS (
    INSERT INTO sections (project_id, name)
    SELECT a.project_id, :name FROM access a
    WHERE {_MAY_WRITE} AND (SELECT count(*) FROM sections WHERE project_id = :project_id) < {MOST_SECTIONS}
    RETURNING *
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT project_id, :user_id, 'section', id, version, 'created',
           jsonb_build_object('name', jsonb_build_object('old', NULL, 'new', name))
    FROM s
)""",
    f"""
SELECT a.role, a.archived, s.id IS NOT NULL AS done, s.id, a.project_id, s.version,
       CASE WHEN s.id IS NOT NULL THEN {_as_bytes("s")} END AS body
FROM access a LEFT JOIN s ON true
""",
    {"name": "text"},
)

_IS_WANTED = "(:versions IS NULL OR {version} = ANY(:versions))"
_CHANGED = f"""
SELECT a.role, a.archived, (f.old).version AS found_version,
       (f.old).id IS NOT NULL AND {_IS_WANTED.format(version="(f.old).version")} AS done,
       s.id, a.project_id, s.version, {_as_bytes("s")} AS body
FROM access a LEFT JOIN found f ON (f.old).id = :section_id LEFT JOIN changed c ON (c.s).id = :section_id
CROSS JOIN LATERAL (SELECT (COALESCE(c.s, f.old)).*) AS s
"""

# The row is locked before it is compared, so that old and new values in the log are those of this very change.
UPDATE = Write(
    "update section",
    f"""
{_ACCESS.format(lock="")}, found AS MATERIALIZED (
    SELECT s AS old FROM access a JOIN sections s ON s.project_id = a.project_id AND s.id = :section_id
    WHERE {_MAY_WRITE} FOR UPDATE OF s
), wanted AS MATERIALIZED (
    SELECT old, jsonb_populate_record(old, :patch) AS new FROM found
), compared AS MATERIALIZED (
    SELECT old, new, {changed_fields("wanted", ("name",))} AS changes FROM wanted
), changed AS (
    UPDATE sections s SET name = (c.new).name, version = s.version + 1, updated_at = now()
    FROM compared c
    WHERE s.project_id = (c.old).project_id AND s.id = (c.old).id AND c.changes IS NOT NULL
      AND {_IS_WANTED.format(version="s.version")}
    RETURNING s, c.changes
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT (s).project_id, :user_id, 'section', (s).id, (s).version, 'updated', changes FROM changed
)""",
    _CHANGED,
    {"patch": "jsonb", "versions": "integer[]"},
)

ORDER = Statement(
    "read order of sections",
    f"SELECT s.id, {position('s')} AS key FROM sections s WHERE s.project_id = :project_id ORDER BY 2",
)
# Of `:section_id` only at one of the `:versions`; a place that is NULL, or the one that it has, changes nothing.
MOVE = Write(
    "move section",
    f"""
{_ACCESS.format(lock="")}, places AS (
    SELECT * FROM unnest(:moved_ids, :positions) AS place (id, position)
), found AS MATERIALIZED (
    SELECT s AS old, place.position
    FROM access a JOIN sections s ON s.project_id = a.project_id JOIN places place ON place.id = s.id
    WHERE {_MAY_WRITE} ORDER BY s.id FOR UPDATE OF s
), changed AS (
    UPDATE sections s SET position = f.position, version = s.version + 1, updated_at = now()
    FROM found f
    WHERE s.project_id = (f.old).project_id AND s.id = (f.old).id AND f.position <> {position("(f.old)")}
      AND (s.id <> :section_id OR {_IS_WANTED.format(version="s.version")})
    RETURNING s, {position("(f.old)")} AS old_position
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT (s).project_id, :user_id, 'section', (s).id, (s).version, 'updated',
           jsonb_build_object('position', jsonb_build_object('old', old_position, 'new', (s).position))
    FROM changed ORDER BY (s).id
)""",
    _CHANGED,
    {"positions": "text[]", "versions": "integer[]"},
)

# The project and the tasks come before the section, in the order in which those lock them who write tasks.
LOCK_TO_DELETE = Write(
    "lock section to delete",
    f"""
{_ACCESS.format(lock="")}, project AS MATERIALIZED (
    SELECT p.id FROM projects p JOIN access a ON a.project_id = p.id WHERE {_MAY_WRITE} FOR UPDATE OF p
), counted AS MATERIALIZED (
    SELECT project.id AS project_id, count(t.id) AS tasks
    FROM project LEFT JOIN tasks t ON t.project_id = project.id AND t.section_id = :section_id GROUP BY project.id
), kept AS MATERIALIZED (
    SELECT t.id FROM counted JOIN tasks t ON t.project_id = counted.project_id AND t.section_id = :section_id
    WHERE counted.tasks <= {MOST_TASKS} ORDER BY t.id FOR UPDATE OF t
), found AS MATERIALIZED (
    SELECT s.version FROM counted JOIN sections s ON s.project_id = counted.project_id AND s.id = :section_id
    WHERE (SELECT count(*) FROM kept) >= 0 FOR UPDATE OF s
)""",
    """
SELECT a.role, a.archived, counted.tasks, found.version
FROM access a LEFT JOIN counted ON true LEFT JOIN found ON true
""",
)
DELETE = Write(
    "delete section",
    f"""
kept AS (
    UPDATE tasks SET section_id = NULL, version = version + 1, updated_at = now()
    WHERE project_id = :project_id AND section_id = :section_id
    RETURNING project_id, id, version
), gone AS (
    DELETE FROM sections WHERE project_id = :project_id AND id = :section_id RETURNING project_id, id, version, name
), logged AS (
    INSERT INTO events ({EVENT_COLUMNS})
    SELECT project_id, :user_id, 'task', id, version, 'updated',
           jsonb_build_object('section_id', jsonb_build_object('old', :section_id, 'new', NULL))
    FROM kept
    UNION ALL
    SELECT project_id, :user_id, 'section', id, version + 1, 'deleted',
           jsonb_build_object('name', jsonb_build_object('old', name, 'new', NULL))
    FROM gone
)""",
    """
SELECT true AS done, id, project_id, CAST(NULL AS integer) AS version, CAST(NULL AS bytea) AS body FROM gone
""",
)
