"""Pieces of SQL that statements on webhooks share."""

from typing import Final

from taskmanager.following.statements import LAST_POSITION
from taskmanager.webhooks.schedule import PARKED_TO_FAIL

# What the server itself says it is: in a copy of the database the rows say something else.
HERE: Final = """here AS MATERIALIZED (
    SELECT system_identifier AS system_id,
           (SELECT CAST(oid AS bigint) FROM pg_database WHERE datname = current_database()) AS database_id
    FROM pg_control_system()
)"""
LOG: Final = """log AS MATERIALIZED (
    SELECT l.*, pg_snapshot_xmin(pg_current_snapshot()) AS horizon FROM event_log l
)"""
# The log may have been emptied up to its floor.
END: Final = f"""log_end AS MATERIALIZED (
    SELECT COALESCE(last.era, log.floor_era) AS era,
           COALESCE(CAST(CAST(last.xid AS text) AS xid8), log.floor_xid) AS xid,
           COALESCE(last.id, log.floor_id) AS event_id
    FROM log LEFT JOIN LATERAL ({LAST_POSITION}) AS last ON true
)"""
POSITION: Final = "(w.era, w.xid, w.event_id)"
FLOOR: Final = "(log.floor_era, log.floor_xid, log.floor_id)"
IS_HERE: Final = "(w.system_id = here.system_id AND w.database_id = here.database_id) IS TRUE"
IS_FAILING: Final = f"w.parked_in_row >= {PARKED_TO_FAIL}"
STATE: Final = f"""CASE WHEN NOT w.enabled THEN 'disabled' WHEN NOT ({IS_HERE}) THEN 'paused'
     WHEN {IS_FAILING} THEN 'failing' ELSE 'active' END"""
# What happened in the project behind the position, and cannot be joined by anything before it any more.
NEW_EVENTS: Final = f"""
    FROM events e
    WHERE e.project_id = w.project_id AND (e.era, e.xid, e.id) > {POSITION} AND (e.era, e.xid) < (log.era, log.horizon)
"""
OF_WEBHOOK: Final = "d.project_id = w.project_id AND d.webhook_id = w.id"
# Both say that it is not finished, which the index of open messages is for: finished ones are kept by the thousand.
IS_HEAD: Final = "d.finished_at IS NULL AND d.state = 'pending'"
IS_PARKED: Final = "d.finished_at IS NULL AND d.state = 'parked'"
# In order, where later messages wait for it.
HAS_HEAD: Final = f"EXISTS (SELECT FROM webhook_deliveries d WHERE {OF_WEBHOOK} AND {IS_HEAD})"
LAG_SECONDS: Final = f"""COALESCE((
    SELECT GREATEST(1, CAST(ceil(EXTRACT(epoch FROM clock_timestamp() - e.created_at)) AS bigint)) FROM events e
    WHERE e.project_id = w.project_id AND (e.era, e.xid, e.id) > {POSITION} ORDER BY e.era, e.xid, e.id LIMIT 1
), 0)"""
PARKED: Final = f"""(
    SELECT count(*) FROM webhook_deliveries d WHERE {OF_WEBHOOK} AND {IS_PARKED}
)"""
