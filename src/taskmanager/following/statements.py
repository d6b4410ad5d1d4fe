"""SQL for those who follow the event log: its end, its next events, and an event as the text that followers get."""

from collections.abc import Sequence
from typing import Final

from taskmanager.database.statements import Statement
from taskmanager.events.followed import FollowedEntity
from taskmanager.events.statements import written_timestamp
from taskmanager.following.epochs import IS_OUTDATED

MOST_EVENTS: Final = 1_000
# Of events that a page of a user reads: of each project at least so many, and of all together about so many. A page
# whose user is in very many busy projects is shorter than its limit, never longer to make.
_LEAST_OF_PROJECT: Final = 20
_MOST_OF_ALL: Final = 4_000

# The last event below the horizon: those above it may become visible before others that sort before them.
LAST_POSITION: Final = """
SELECT e.era, CAST(CAST(e.xid AS text) AS bigint) AS xid, e.id
FROM events e
WHERE (e.era, e.xid) < (log.era, log.horizon)
ORDER BY e.era DESC, e.xid DESC, e.id DESC LIMIT 1
"""
LOG: Final = f"""(
    SELECT l.*, {IS_OUTDATED} AS is_outdated, pg_snapshot_xmin(now.snapshot) AS horizon,
           pg_snapshot_xmax(now.snapshot) AS ahead
    FROM event_log l CROSS JOIN (SELECT pg_current_snapshot() AS snapshot) AS now
)"""
# Of an event `e`: whether a user has asked for its project (`{}`), whether it is of their own membership, and whether
# they see its project now, which is one of `mine`.
IS_WANTED: Final = "(:project_ids IS NULL OR {} = ANY(:project_ids))"
IS_OWN: Final = "e.entity = 'member' AND e.entity_id = :user_id"
SEES: Final = "EXISTS (SELECT FROM mine WHERE mine.project_id = e.project_id)"
# Of an event `e`: whose membership it changes, and who has made a project by it and is a member without further ado.
MEMBER: Final = "CASE WHEN e.entity = 'member' THEN e.entity_id END"
FOUNDER: Final = "CASE WHEN e.entity = 'project' AND e.action = 'created' THEN e.actor_id END"
# If all events have been deleted, the floor is the last position that there was.
FIND_END: Final = Statement(
    "find end of log",
    f"""
SELECT COALESCE(last.era, log.floor_era) AS era,
       COALESCE(last.xid, CAST(CAST(log.floor_xid AS text) AS bigint)) AS xid, COALESCE(last.id, log.floor_id) AS id
FROM {LOG} AS log LEFT JOIN LATERAL ({LAST_POSITION}) AS last ON true
""",
)


def page_of_user(more: str = "") -> str:
    """Return the steps to `page`, events of the projects that `:user_id` sees, and of their own memberships.

    They read from `log` what happened after (`:era`, `:xid`, `:event_id`), up to `:limit` events, and number them by
    `place`. `mine` are the projects; `seen` are the events that were read, one of which `is_cut` if there are more.
    `more` are columns of `e`, each behind a comma.
    """
    columns = f"e.era, e.xid, e.id, e.project_id, e.entity, e.entity_id, e.version, e.action{more}"
    follow = """
        (e.era, e.xid, e.id) > (:era, CAST(:xid AS xid8), :event_id) AND (e.era, e.xid) < (log.era, log.horizon)
        ORDER BY e.era, e.xid, e.id
    """
    return f"""mine AS MATERIALIZED (
    SELECT m.project_id FROM project_members m WHERE m.user_id = :user_id AND {IS_WANTED.format("m.project_id")}
), most AS (
    SELECT LEAST(:limit, GREATEST({_LEAST_OF_PROJECT}, {_MOST_OF_ALL} / GREATEST(count(*), 1))) AS events FROM mine
), seen AS MATERIALIZED (
    SELECT e.*, e.place = most.events AS is_cut
    FROM log CROSS JOIN most CROSS JOIN mine CROSS JOIN LATERAL (
        SELECT e.*, row_number() OVER (ORDER BY e.era, e.xid, e.id) AS place FROM (
            SELECT {columns} FROM events e WHERE e.project_id = mine.project_id AND {follow} LIMIT most.events
        ) AS e
    ) AS e
    UNION ALL
    SELECT e.*, e.place = :limit
    FROM log CROSS JOIN LATERAL (
        SELECT e.*, row_number() OVER (ORDER BY e.era, e.xid, e.id) AS place FROM (
            SELECT {columns} FROM events e
            WHERE {IS_OWN} AND NOT {SEES} AND {IS_WANTED.format("e.project_id")} AND {follow} LIMIT :limit
        ) AS e
    ) AS e
), cut AS MATERIALIZED (
    SELECT e.era, e.xid, e.id FROM seen e WHERE e.is_cut ORDER BY e.era, e.xid, e.id LIMIT 1
), page AS MATERIALIZED (
    SELECT {columns}, row_number() OVER (ORDER BY e.era, e.xid, e.id) AS place
    FROM seen e
    WHERE NOT EXISTS (SELECT FROM cut WHERE (cut.era, cut.xid, cut.id) < (e.era, e.xid, e.id))
    ORDER BY e.era, e.xid, e.id LIMIT :limit
)"""


def next_events(entities: Sequence[FollowedEntity]) -> Statement:
    """Return the statement of the events that follow a position, at most 1,000; without any it gives one row.

    With `:renders` each event comes with its text, and the first one with the memberships that have ended above the
    horizon (`lost`, pairs of user and project): the rows in the texts may be younger than these ends.
    """
    lost = """(
        SELECT array_agg(ARRAY[o.entity_id, o.project_id]) FROM events o
        WHERE (o.era, o.xid) >= (log.era, log.horizon) AND o.entity = 'member' AND o.action = 'removed'
    )"""
    return Statement(
        "read end of log",
        f"""
SELECT e.era, CAST(CAST(e.xid AS text) AS bigint) AS xid, e.id, e.project_id, e.entity, e.action,
       {MEMBER} AS member_id, {FOUNDER} AS founder_id,
       CAST(EXTRACT(epoch FROM clock_timestamp() - e.created_at) AS double precision) AS age,
       CAST(CAST(log.horizon AS text) AS bigint) AS horizon, CAST(CAST(log.ahead AS text) AS bigint) AS ahead,
       log.epoch, log.is_outdated,
       CASE WHEN :renders THEN {event_text(entities)} END AS text,
       CASE WHEN :renders AND e.place = 1 THEN {lost} END AS lost
FROM {LOG} AS log LEFT JOIN LATERAL (
    SELECT e.*, row_number() OVER (ORDER BY e.era, e.xid, e.id) AS place FROM (
        SELECT * FROM events e
        WHERE (e.era, e.xid, e.id) > (:era, CAST(:xid AS xid8), :event_id) AND (e.era, e.xid) < (log.era, log.horizon)
        ORDER BY e.era, e.xid, e.id LIMIT {MOST_EVENTS}
    ) AS e
) AS e ON true
ORDER BY e.place
""",
        {"era": "integer", "xid": "text", "renders": "boolean"},
    )


def event_text(entities: Sequence[FollowedEntity]) -> str:
    """Return SQL for an event `e` as the members of a JSON object, with the row as it is now in the event's project.

    It is the same for everybody who may see the project, and NULL for what nobody can follow.
    """
    names = ", ".join(f"'{entity.name}'" for entity in entities)
    rows = "".join(
        f"WHEN '{entity.name}' THEN (SELECT {entity.common_row} FROM {entity.table} r {entity.joins} "
        f"WHERE {entity.id} = e.entity_id AND {entity.project_id} = e.project_id) "
        for entity in entities
    )
    return f"""CASE WHEN e.entity IN ({names}) THEN concat(
        '"project_id":', e.project_id, ',"entity":"', e.entity, '","id":', e.entity_id, ',"version":', e.version,
        ',"action":"', e.action, '","actor_id":', COALESCE(CAST(e.actor_id AS text), 'null'),
        ',"created_at":"', {written_timestamp("e.created_at")}, '","changes":', e.changes, ',"', e.entity, '":',
        COALESCE(CASE e.entity {rows} END, 'null')
    ) END"""
