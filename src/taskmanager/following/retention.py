"""Lets old events go, if the settings say so: first the floor of the log is moved, then what is below it goes.

A cursor below the floor is refused, so nobody misses an event that is gone.
"""

from taskmanager.database.statements import Statement
from taskmanager.maintenance.jobs import Batch, Job, Progress

# Positions and times do not go up together: the floor is below the first event that has to stay.
_MOVE_FLOOR = Statement(
    "move floor of log",
    """
WITH next AS MATERIALIZED (
    SELECT e.era, e.xid, e.id,
           e.created_at >= now() - make_interval(days => :days) AS stays
    FROM (SELECT l.*, pg_snapshot_xmin(pg_current_snapshot()) AS horizon FROM event_log l) AS log
    CROSS JOIN LATERAL (
        SELECT * FROM events e
        WHERE (e.era, e.xid, e.id) > (log.floor_era, log.floor_xid, log.floor_id)
          AND (e.era, e.xid) < (log.era, log.horizon)
        ORDER BY e.era, e.xid, e.id LIMIT :limit
    ) AS e
), first AS MATERIALIZED (
    SELECT n.era, n.xid, n.id FROM next n WHERE n.stays ORDER BY n.era, n.xid, n.id LIMIT 1
), old AS (
    SELECT n.era, n.xid, n.id FROM next n
    WHERE NOT EXISTS (SELECT FROM first f WHERE (f.era, f.xid, f.id) <= (n.era, n.xid, n.id))
    ORDER BY n.era DESC, n.xid DESC, n.id DESC LIMIT 1
)
UPDATE event_log SET floor_era = old.era, floor_xid = old.xid, floor_id = old.id FROM old
RETURNING (SELECT count(*) FROM next) AS looked_at
""",
    {"days": "integer"},
)
_DELETE = Statement(
    "delete events below floor",
    """
DELETE FROM events WHERE ctid = ANY(ARRAY(
    SELECT e.ctid FROM event_log l CROSS JOIN LATERAL (
        SELECT ctid FROM events e WHERE (e.era, e.xid, e.id) <= (l.floor_era, l.floor_xid, l.floor_id)
        ORDER BY e.era, e.xid, e.id LIMIT :limit
    ) AS e
)) RETURNING 1
""",
)


async def move_floor(batch: Batch) -> Progress:
    """Move the floor up to the events that have to stay."""
    if not batch.settings.event_retention_days:
        return Progress(0)
    row = await batch.run.one(_MOVE_FLOOR, days=batch.settings.event_retention_days, limit=batch.limit)
    return Progress(0) if row is None else Progress(row["looked_at"], after="more")


async def delete_events(batch: Batch) -> Progress:
    """Delete events below the floor, of which another transaction is the first to know."""
    deleted = len(await batch.run.all(_DELETE, limit=batch.limit))
    return Progress(deleted, after="more" if deleted == batch.limit else None)


MOVE_FLOOR = Job("move floor of log", move_floor, interval_seconds=3_600.0)
DELETE_EVENTS = Job("delete events below floor", delete_events, interval_seconds=3_600.0)
