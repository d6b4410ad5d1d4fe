"""The statements of delta sync: a page of the log as rows that a user may see, and a page of all such rows."""

from collections.abc import Callable, Sequence
from typing import Final

from taskmanager.database.statements import Statement
from taskmanager.events.followed import FollowedEntity
from taskmanager.following.statements import IS_OWN, IS_WANTED, LAST_POSITION, LOG, SEES, page_of_user

_MOST_SHARED = 16

_LOG = f"log AS MATERIALIZED {LOG}"
_LAST = f"SELECT last.* FROM log CROSS JOIN LATERAL ({LAST_POSITION}) AS last"
_XID: Final = "CAST(CAST({} AS text) AS bigint)"
TYPES: Final = {
    "era": "integer",
    "xid": "text",
    "epoch": "uuid",
    "project_ids": "bigint[]",
    "entities": "text[]",
    "rank": "integer",
}


def page_of_log(entities: Sequence[FollowedEntity]) -> Statement:
    """Return the statement of a page of the log, for `:user_id`, after a position, filtered.

    It reads what happened, up to `:limit` events and never past one by which the user gains a project or a moved thing
    with children, which then has to be loaded (`gained`, the entity, and `gained_id`). Each thing comes once, as its
    row is now, or as gone. A project is gone where the user's own membership is, or was meanwhile: of what happened
    before they came back they may have seen a part only, so it is loaded anew.
    """
    return Statement(
        "read page of log",
        f"""
WITH {_LOG}, {page_of_user()}, gain AS MATERIALIZED (
    SELECT e.place, CASE WHEN e.action = 'moved_in' THEN e.entity ELSE 'project' END AS entity,
           CASE WHEN e.action = 'moved_in' THEN e.entity_id ELSE e.project_id END AS id
    FROM page e
    WHERE CASE WHEN e.action = 'moved_in' THEN {_has_children(entities)}
               ELSE ({IS_OWN} AND e.action = 'added' OR e.entity = 'project' AND e.action = 'created') AND {SEES} END
    ORDER BY e.place LIMIT 1
), used AS MATERIALIZED (
    SELECT * FROM page WHERE place <= COALESCE((SELECT place FROM gain), :limit)
), things AS (
    SELECT e.entity, e.project_id, e.entity_id, e.version, e.action, e.place, false AS is_lost
    FROM used e
    WHERE NOT ({IS_OWN} AND e.action IN ('added', 'removed')) AND (:entities IS NULL OR e.entity = ANY(:entities))
    UNION ALL
    SELECT 'project', e.project_id, e.project_id, p.version, e.action, e.place, e.action <> 'updated'
    FROM used e LEFT JOIN projects p ON p.id = e.project_id
    WHERE {IS_OWN} AND CASE e.action WHEN 'added' THEN e.version <> 1 WHEN 'removed' THEN NOT {SEES} ELSE true END
), once AS (
    SELECT DISTINCT ON (e.entity, {_bound(entities)}, e.entity_id) e.*
    FROM things e ORDER BY e.entity, {_bound(entities)}, e.entity_id, e.place DESC
), items AS (
    SELECT e.place, CASE WHEN e.is_lost THEN {_gone()} ELSE COALESCE({_current(entities)}, {_gone()}) END AS item
    FROM once e WHERE e.entity IN ({_names(entities)})
), read AS (
    SELECT count(*) > (SELECT count(*) FROM used) OR COALESCE(bool_or(is_cut), false) AS has_more FROM seen
)
SELECT log.epoch, log.is_outdated, (log.floor_era, log.floor_xid, log.floor_id)
           > (:era, CAST(:xid AS xid8), :event_id) AS is_below_floor,
       (:era, CAST(:xid AS xid8)) >= (log.era, log.ahead) AS is_ahead,
       read.has_more, gain.entity AS gained, gain.id AS gained_id,
       position.era, {_XID.format("position.xid")} AS xid, position.id AS event_id,
       (SELECT convert_to(string_agg(item, ',' ORDER BY place), 'UTF8') FROM items) AS items,
       (SELECT array_agg(project_id) FROM mine) AS visible
FROM log CROSS JOIN read LEFT JOIN gain ON true LEFT JOIN LATERAL (
    SELECT * FROM (
        SELECT era, xid, id FROM used WHERE read.has_more OR gain.id IS NOT NULL
        UNION ALL
        SELECT era, CAST(CAST(xid AS text) AS xid8), id FROM ({_LAST}) AS last
        WHERE NOT read.has_more AND gain.id IS NULL
    ) AS known ORDER BY era DESC, xid DESC, id DESC LIMIT 1
) AS position ON true
""",
        TYPES,
        shared=True,
        most_shared=_MOST_SHARED,
    )


def page_of_all(entities: Sequence[FollowedEntity]) -> Statement:
    """Return the statement of a page of all rows that a user may see, in the order of (project, entity, id).

    It goes from behind (`:from_project_id`, `:rank`, `:after_id`) to the project `:last_project_id`.
    """

    def rows(rank: int, entity: FollowedEntity) -> str:
        return f"""
            (SELECT {rank} AS rank, {entity.id} AS id, {entity.item} AS item
             FROM {entity.source()}
             WHERE {entity.project_id} = scope.project_id AND {entity.id} > {_after(rank, "scope.is_begun")}
               AND (:entities IS NULL OR '{entity.name}' = ANY(:entities))
             ORDER BY {entity.id} LIMIT :limit + 1)
        """

    return Statement(
        "load page of all",
        f"""
WITH {_LOG}
{
            _page(
                '''
    SELECT scope.project_id, thing.rank, thing.id, thing.item
    FROM (
        SELECT m.project_id, m.project_id = :from_project_id AS is_begun
        FROM project_members m
        WHERE m.user_id = :user_id AND m.project_id BETWEEN :from_project_id AND :last_project_id
          AND '''
                + IS_WANTED.format("m.project_id")
                + '''
        ORDER BY m.project_id
    ) AS scope
    CROSS JOIN LATERAL ('''
                + _union(rows, entities)
                + ''') AS thing
    ORDER BY scope.project_id, thing.rank, thing.id LIMIT :limit + 1
'''
            )
        }
""",
        TYPES,
        shared=True,
        most_shared=_MOST_SHARED,
    )


def page_of_children(parent: FollowedEntity, entities: Sequence[FollowedEntity]) -> Statement:
    """Return the statement of a page of what belongs to one row, wherever it is now, after (`:rank`, `:after_id`)."""

    def rows(rank: int, entity: FollowedEntity) -> str:
        return f"""
            (SELECT {rank} AS rank, {entity.id} AS id, {entity.item} AS item
             FROM {entity.source()}
             WHERE {entity.project_id} = scope.project_id AND {entity.parent_id} = scope.id
               AND {entity.id} > {_after(rank, "true")}
               AND (:entities IS NULL OR '{entity.name}' = ANY(:entities))
             ORDER BY {entity.id} LIMIT :limit + 1)
        """

    children = [(rank, entity) for rank, entity in enumerate(entities) if entity.parent == parent.name]
    return Statement(
        f"load what belongs to {parent.name}",
        f"""
WITH {_LOG}
{
            _page(f'''
    SELECT scope.project_id, thing.rank, thing.id, thing.item
    FROM (
        SELECT {parent.project_id} AS project_id, {parent.id} AS id FROM {parent.source()}
        WHERE {parent.id} = :parent_id AND {IS_WANTED.format(parent.project_id)}
    ) AS scope
    CROSS JOIN LATERAL ({" UNION ALL ".join(rows(rank, entity) for rank, entity in children)}) AS thing
    ORDER BY thing.rank, thing.id LIMIT :limit + 1
''')
        }
""",
        TYPES,
        shared=True,
        most_shared=_MOST_SHARED,
    )


def _page(rows: str) -> str:
    return f"""
SELECT log.epoch, log.is_outdated, page.*, last.era, {_XID.format("last.xid")} AS xid, last.id AS event_id
FROM log LEFT JOIN ({_LAST}) AS last ON true CROSS JOIN (
    SELECT convert_to(string_agg(item, ',' ORDER BY place) FILTER (WHERE place <= :limit), 'UTF8') AS items,
           count(*) > :limit AS has_more,
           max(project_id) FILTER (WHERE place = :limit) AS last_project_id,
           max(rank) FILTER (WHERE place = :limit) AS last_rank,
           max(id) FILTER (WHERE place = :limit) AS last_id
    FROM (
        SELECT one.*, row_number() OVER (ORDER BY project_id, rank, id) AS place FROM ({rows}) AS one
    ) AS numbered
) AS page
"""


def _after(rank: int, is_begun: str) -> str:
    return f"CASE WHEN NOT {is_begun} OR :rank < {rank} THEN 0 WHEN :rank = {rank} THEN :after_id ELSE {2**63 - 1} END"


def _union(rows: Callable[[int, FollowedEntity], str], entities: Sequence[FollowedEntity]) -> str:
    return " UNION ALL ".join(rows(rank, entity) for rank, entity in enumerate(entities))


def _names(entities: Sequence[FollowedEntity]) -> str:
    return ", ".join(f"'{entity.name}'" for entity in entities)


def _bound(entities: Sequence[FollowedEntity]) -> str:
    """Return SQL for the project of an event `e` if it is part of what names the thing."""
    return f"CASE WHEN e.entity IN ({_names([entity for entity in entities if entity.is_bound])}) THEN e.project_id END"


def _key(entity: FollowedEntity) -> str:
    key = f"{entity.id} = e.entity_id"
    return f"{key} AND {entity.project_id} = e.project_id" if entity.is_bound else key


def _current(entities: Sequence[FollowedEntity]) -> str:
    """Return SQL for the item of what an event `e` happened to, NULL if the user cannot see it."""
    cases = "".join(
        f"WHEN '{entity.name}' THEN (SELECT {entity.item} FROM {entity.source()} "
        f"WHERE {_key(entity)} AND {IS_WANTED.format(entity.project_id)}) "
        for entity in entities
    )
    return f"CASE e.entity {cases} END"


def _gone() -> str:
    return """concat(
        '{"entity":"', e.entity, '","id":', e.entity_id, ',"project_id":', e.project_id,
        ',"version":', COALESCE(CAST(e.version AS text), 'null'), ',"deleted":', 'true,"reason":"',
        CASE WHEN e.is_lost AND e.version IS NOT NULL THEN 'no_access'
             WHEN e.action IN ('moved_out', 'moved_in') THEN 'moved' ELSE 'deleted' END, '"}'
    )"""


def _has_children(entities: Sequence[FollowedEntity]) -> str:
    """Return SQL for whether what was moved has children that the user may see."""
    by_name = {entity.name: entity for entity in entities}
    cases = []
    for child in entities:
        if child.parent is not None:
            parent = by_name[child.parent]
            cases.append(
                f"WHEN '{parent.name}' THEN EXISTS (SELECT FROM {parent.source()} WHERE {parent.id} = e.entity_id "
                f"AND {IS_WANTED.format(parent.project_id)} AND EXISTS ("
                f"SELECT FROM {child.table} c WHERE c.project_id = r.project_id "
                f"AND {child.parent_id.replace('r.', 'c.', 1)} = r.id)) "
            )
    return f"CASE e.entity {''.join(cases)} ELSE false END"
