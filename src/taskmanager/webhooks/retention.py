"""What becomes of webhooks whose project or whose events are gone, and of old messages."""

from typing import Final

from taskmanager.database.statements import Statement
from taskmanager.maintenance.jobs import Batch, Job, Progress, purge_job
from taskmanager.webhooks.conditions import END, FLOOR, LOG, OF_WEBHOOK, POSITION

BODY_DAYS: Final = 7
DELIVERY_DAYS: Final = 30
MOST_DELIVERIES: Final = 10_000

# Up to its end, which it is sent for a day.
_END_OF_DELETED = Statement(
    "end webhooks of deleted projects",
    f"""
WITH left_over AS MATERIALIZED (
    SELECT w.* FROM webhooks w
    WHERE w.lease_until <= now() AND NOT EXISTS (SELECT FROM projects p WHERE p.id = w.project_id)
)
DELETE FROM webhooks WHERE (project_id, id) IN (
    SELECT w.project_id, w.id FROM left_over w
    WHERE NOT EXISTS (
        SELECT FROM events e WHERE e.project_id = w.project_id AND e.entity = 'project' AND e.action = 'deleted'
          AND e.created_at > now() - interval '1 day'
    ) OR NOT EXISTS (
        SELECT FROM events e WHERE e.project_id = w.project_id AND (e.era, e.xid, e.id) > {POSITION}
    ) AND NOT EXISTS (
        SELECT FROM webhook_deliveries d WHERE {OF_WEBHOOK} AND d.finished_at IS NULL
    )
    LIMIT :limit
) RETURNING 1
""",
)
# What nothing has happened for is moved along, long before the floor gets there, so that whatever is below it has
# missed something.
_KEEP_ABOVE_FLOOR = Statement(
    "keep webhooks above floor of log",
    f"""
WITH {LOG}, {END}, old AS MATERIALIZED (
    SELECT w.project_id, w.id, {POSITION} < {FLOOR} AS is_lost
    FROM webhooks w CROSS JOIN log
    WHERE w.lease_until <= now() AND w.disabled_reason IS DISTINCT FROM 'retention'
      AND ({POSITION} < {FLOOR} OR w.moved_at < now() - interval '1 hour' AND NOT EXISTS (
          SELECT FROM events e WHERE e.project_id = w.project_id AND (e.era, e.xid, e.id) > {POSITION}
      ))
    ORDER BY w.project_id, w.id LIMIT :limit FOR UPDATE OF w SKIP LOCKED
)
UPDATE webhooks w
SET enabled = w.enabled AND NOT old.is_lost,
    disabled_reason = CASE WHEN old.is_lost THEN 'retention' ELSE w.disabled_reason END,
    era = CASE WHEN old.is_lost THEN w.era ELSE log_end.era END,
    xid = CASE WHEN old.is_lost THEN w.xid ELSE log_end.xid END,
    event_id = CASE WHEN old.is_lost THEN w.event_id ELSE log_end.event_id END,
    moved_at = now()
FROM old CROSS JOIN log_end WHERE w.project_id = old.project_id AND w.id = old.id
RETURNING 1
""",
)
_DROP_BODIES = Statement(
    "drop bodies of messages",
    f"""
UPDATE webhook_deliveries SET body = NULL, answer = NULL WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM webhook_deliveries
    WHERE body IS NOT NULL AND finished_at IS NOT NULL AND finished_at <= now() - interval '{BODY_DAYS} days'
    ORDER BY finished_at LIMIT :limit FOR UPDATE SKIP LOCKED
)) RETURNING 1
""",
)
_PURGE = Statement(
    "purge messages",
    f"""
DELETE FROM webhook_deliveries WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM webhook_deliveries WHERE finished_at <= now() - interval '{DELIVERY_DAYS} days'
    ORDER BY finished_at LIMIT :limit FOR UPDATE SKIP LOCKED
)) RETURNING 1
""",
)
_PURGE_MANY = Statement(
    "purge many messages",
    f"""
DELETE FROM webhook_deliveries WHERE (project_id, id) IN (
    SELECT d.project_id, d.id
    FROM webhooks w CROSS JOIN LATERAL (
        SELECT d.created_at, d.id FROM webhook_deliveries d
        WHERE {OF_WEBHOOK} ORDER BY d.created_at DESC, d.id DESC OFFSET {MOST_DELIVERIES - 1} LIMIT 1
    ) AS kept CROSS JOIN LATERAL (
        SELECT d.project_id, d.id FROM webhook_deliveries d
        WHERE {OF_WEBHOOK} AND (d.created_at, d.id) < (kept.created_at, kept.id) AND d.finished_at IS NOT NULL
        ORDER BY d.created_at, d.id LIMIT :limit
    ) AS d
    LIMIT :limit
) RETURNING 1
""",
)


async def _keep_above_floor(batch: Batch) -> Progress:
    if not batch.settings.event_retention_days:
        return Progress(0)
    rows = len(await batch.run.all(_KEEP_ABOVE_FLOOR, limit=batch.limit))
    return Progress(rows, after="more" if rows == batch.limit else None)


END_OF_DELETED = purge_job("end webhooks of deleted projects", _END_OF_DELETED, lambda _: {}, interval_seconds=60.0)
# More often than the floor is moved: what is below it is to be seen while its events are there.
KEEP_ABOVE_FLOOR = Job("keep webhooks above floor of log", _keep_above_floor, interval_seconds=20.0)
DROP_BODIES = purge_job("drop bodies of messages", _DROP_BODIES, lambda _: {})
PURGE = purge_job("purge messages", _PURGE, lambda _: {})
PURGE_MANY = purge_job("purge many messages", _PURGE_MANY, lambda _: {})
JOBS: Final = (END_OF_DELETED, KEEP_ABOVE_FLOOR, DROP_BODIES, PURGE, PURGE_MANY)
