"""The statements by which processes share the sending of webhooks; what they are for: `claims`."""

from collections.abc import Sequence
from typing import Final

from taskmanager.database.statements import Statement
from taskmanager.events.followed import FollowedEntity
from taskmanager.webhooks.conditions import (
    FLOOR,
    HAS_HEAD,
    HERE,
    IS_FAILING,
    IS_HEAD,
    IS_HERE,
    IS_PARKED,
    LOG,
    NEW_EVENTS,
    OF_WEBHOOK,
    POSITION,
)
from taskmanager.webhooks.schedule import PARKED_TO_FAIL

_MOST_SCANNED: Final = 500
_MAY_SEND = f"w.enabled AND {IS_HERE} AND {POSITION} >= {FLOOR}"
# Of a webhook that fails, the oldest that is parked, and what an owner asks for.
_MAY_BE_TRIED = f"""
    {OF_WEBHOOK} AND d.finished_at IS NULL AND d.next_attempt_at <= now()
    AND (NOT {IS_FAILING} OR d.is_asked OR NOT EXISTS (
        SELECT FROM webhook_deliveries o
        WHERE o.project_id = d.project_id AND o.webhook_id = d.webhook_id AND o.finished_at IS NULL AND NOT o.is_asked
          AND (o.era, o.xid, o.event_id) < (d.era, d.xid, d.event_id)
    ))
"""
# What could be claimed, had nobody else claimed it. First who may be sent to at all: a condition that is part of a join
# can be planned to be looked into twice, and before those that cost nothing.
DUE: Final = f"""
WITH {LOG}, {HERE}, free AS MATERIALIZED (
    SELECT w.*, log.era AS log_era, log.horizon
    FROM webhooks w CROSS JOIN log CROSS JOIN here WHERE {_MAY_SEND} AND w.lease_until <= now()
), due AS MATERIALIZED (
    SELECT w.project_id, w.id, row_number() OVER (PARTITION BY w.host ORDER BY w.lease_until, w.id) AS place
    FROM free w CROSS JOIN LATERAL (SELECT w.log_era AS era, w.horizon) AS log
    WHERE EXISTS (SELECT FROM webhook_deliveries d WHERE {_MAY_BE_TRIED})
       OR NOT {IS_FAILING} AND (w.replay_era IS NOT NULL OR NOT {HAS_HEAD} AND EXISTS (SELECT {NEW_EVENTS}))
)"""
# What follows a later position is sent anyway, and what is before it must not be passed over.
_GOES_BACK: Final = "(w.replay_era, w.replay_xid, w.replay_event_id) < (w.era, w.xid, w.event_id)"
CLAIM: Final = Statement(
    "claim webhooks",
    f"""
{DUE}, locked AS MATERIALIZED (
    SELECT w.project_id, w.id FROM webhooks w JOIN due ON due.project_id = w.project_id AND due.id = w.id
    WHERE w.enabled AND w.lease_until <= now()
      AND due.place <= :most_of_host - COALESCE(CAST(:busy ->> w.host AS integer), 0)
    ORDER BY w.lease_until, w.id LIMIT :limit FOR UPDATE OF w SKIP LOCKED
), claimed AS (
    UPDATE webhooks w
    SET token = w.token + 1, lease_until = now() + make_interval(secs => :lease_seconds),
        era = CASE WHEN {_GOES_BACK} THEN w.replay_era ELSE w.era END,
        xid = CASE WHEN {_GOES_BACK} THEN w.replay_xid ELSE w.xid END,
        event_id = CASE WHEN {_GOES_BACK} THEN w.replay_event_id ELSE w.event_id END,
        replay_era = NULL, replay_xid = NULL, replay_event_id = NULL
    FROM locked WHERE w.project_id = locked.project_id AND w.id = locked.id
    RETURNING w.project_id, w.id, w.token, w.host,
              ((old.replay_era, old.replay_xid, old.replay_event_id) < (old.era, old.xid, old.event_id)) IS TRUE
              AS is_replayed
), passed AS (
    -- What is sent again comes to the message that was next, in its turn.
    UPDATE webhook_deliveries d SET state = 'parked', next_attempt_at = now() + interval '5 minutes'
    FROM claimed w WHERE w.is_replayed AND {OF_WEBHOOK} AND {IS_HEAD}
)
SELECT project_id, id AS webhook_id, token, host FROM claimed
""",
    {"busy": "jsonb", "most_of_host": "integer", "lease_seconds": "double precision"},
)
_IS_WANTED = """(cardinality(w.events) = 0 OR concat(e.entity, '.', e.action) = ANY(w.events)
    OR concat(e.entity, '.*') = ANY(w.events))"""
_SCANNED = f"(SELECT e.* {NEW_EVENTS} ORDER BY e.era, e.xid, e.id LIMIT {_MOST_SCANNED}) AS e"
_IS_FREE = f"NOT EXISTS (SELECT FROM d) AND NOT {IS_FAILING} AND NOT {HAS_HEAD}"
_OF_CLAIM = "w.project_id = :project_id AND w.id = :webhook_id AND w.token = :token"
FREEZE = Statement(
    "freeze message",
    f"""
INSERT INTO webhook_deliveries AS d
    (project_id, webhook_id, message_id, type, era, xid, event_id, body, state, next_attempt_at)
SELECT w.project_id, w.id, :message_id, :type, :era, CAST(:xid AS xid8), :event_id, :body, 'pending', now()
FROM webhooks w WHERE {_OF_CLAIM} AND w.lease_until > now()
ON CONFLICT (project_id, webhook_id, era, event_id) DO UPDATE
SET state = 'pending', is_asked = false, finished_at = NULL, next_attempt_at = now(),
    body = COALESCE(d.body, excluded.body), attempts = 0, tried_since = now()
RETURNING d.id, d.body, d.tried_since
""",
    {
        "token": "bigint",
        "message_id": "text",
        "type": "text",
        "era": "integer",
        "xid": "text",
        "body": "bytea",
    },
)
# A message that waited while its webhook was disabled may be of an event before the webhook's new position.
_MOVES: Final = ":moves AND (sent.era, sent.xid, sent.event_id) > (w.era, w.xid, w.event_id)"
RECORD = Statement(
    "record attempt",
    f"""
WITH sent AS MATERIALIZED (
    SELECT * FROM webhook_deliveries WHERE project_id = :project_id AND id = :delivery_id
), w AS (
    UPDATE webhooks w
    SET era = CASE WHEN {_MOVES} THEN sent.era ELSE w.era END,
        xid = CASE WHEN {_MOVES} THEN sent.xid ELSE w.xid END,
        event_id = CASE WHEN {_MOVES} THEN sent.event_id ELSE w.event_id END,
        moved_at = CASE WHEN {_MOVES} THEN now() ELSE w.moved_at END,
        parked_in_row = CASE WHEN :accepted THEN 0 WHEN :parks THEN w.parked_in_row + 1 ELSE w.parked_in_row END,
        failing_since = CASE WHEN :accepted THEN NULL WHEN :fails THEN COALESCE(w.failing_since, now())
                             ELSE w.failing_since END,
        last_success_at = CASE WHEN :accepted THEN now() ELSE w.last_success_at END,
        enabled = w.enabled AND :disabled IS NULL, disabled_reason = COALESCE(w.disabled_reason, :disabled)
    FROM sent WHERE {_OF_CLAIM}
    RETURNING w.project_id, w.id, old.parked_in_row AS parked_before, w.parked_in_row
), recorded AS (
    UPDATE webhook_deliveries d
    SET state = :state, is_asked = false, attempts = d.attempts + 1, last_attempt_at = now(),
        next_attempt_at = now() + make_interval(secs => :delay),
        finished_at = CASE WHEN :delay IS NULL THEN now() END,
        status = :status, error = :error, answer = :answer
    FROM w WHERE d.project_id = w.project_id AND d.id = :delivery_id
), freed AS (
    -- The receiver is back: what waits for it need not wait longer.
    UPDATE webhook_deliveries d SET next_attempt_at = now()
    FROM w WHERE :accepted AND w.parked_before >= {PARKED_TO_FAIL} AND {OF_WEBHOOK}
      AND {IS_PARKED} AND d.id <> :delivery_id AND d.next_attempt_at > now()
)
SELECT {IS_FAILING} AS is_failing FROM w
""",
    {
        "token": "bigint",
        "moves": "boolean",
        "accepted": "boolean",
        "parks": "boolean",
        "fails": "boolean",
        "disabled": "text",
        "state": "text",
        "delay": "double precision",
        "status": "integer",
        "error": "text",
        "answer": "text",
    },
)
PASS_BY = Statement(
    "pass events by",
    f"""
UPDATE webhooks w SET era = :era, xid = CAST(:xid AS xid8), event_id = :event_id, moved_at = now()
WHERE {_OF_CLAIM} RETURNING 1
""",
    {"token": "bigint", "era": "integer", "xid": "text"},
)
RELEASE = Statement(
    "release webhook", f"UPDATE webhooks w SET lease_until = now() WHERE {_OF_CLAIM}", {"token": "bigint"}
)


def look_statement(entities: Sequence[FollowedEntity]) -> Statement:
    """Return the statement that says what is next for a claimed webhook, with rows of these entities."""
    return Statement(
        "find next message",
        f"""
WITH {LOG}, {HERE}, w AS MATERIALIZED (
    SELECT w.* FROM webhooks w CROSS JOIN log CROSS JOIN here WHERE {_OF_CLAIM} AND {_MAY_SEND}
), d AS MATERIALIZED (
    SELECT d.* FROM w CROSS JOIN LATERAL (
        SELECT * FROM webhook_deliveries d WHERE {_MAY_BE_TRIED}
        ORDER BY d.is_asked DESC, d.era, d.xid, d.event_id LIMIT 1
    ) AS d
), e AS MATERIALIZED (
    -- Read up to the first one that is wanted.
    SELECT e.* FROM w CROSS JOIN log CROSS JOIN LATERAL (
        SELECT * FROM {_SCANNED} WHERE {_IS_WANTED} ORDER BY e.era, e.xid, e.id LIMIT 1
    ) AS e WHERE {_IS_FREE}
), last AS MATERIALIZED (
    SELECT e.* FROM w CROSS JOIN log CROSS JOIN LATERAL (
        SELECT e.era, e.xid, e.id FROM {_SCANNED} ORDER BY e.era DESC, e.xid DESC, e.id DESC LIMIT 1
    ) AS e WHERE {_IS_FREE} AND NOT EXISTS (SELECT FROM e)
)
SELECT now() AS now, log.epoch, w.url, w.generation, w.failing_since,
       (w.rotated_at > now() - interval '1 day') IS TRUE AS signs_previous,
       d.id AS delivery_id, d.message_id, d.body, d.attempts, d.tried_since, d.state = 'pending' AS is_head,
       d.event_id IS NULL AS is_test,
       e.era, CAST(CAST(e.xid AS text) AS bigint) AS xid, e.id AS event_id, e.actor_id, e.created_at, e.entity,
       e.entity_id, e.version, e.action, CAST(e.changes AS text) AS changes, {_row_of_event(entities)} AS row,
       last.era AS last_era, CAST(CAST(last.xid AS text) AS bigint) AS last_xid, last.id AS last_event_id
FROM w CROSS JOIN log LEFT JOIN d ON true LEFT JOIN e ON true LEFT JOIN last ON true
""",
        {"token": "bigint"},
    )


def _row_of_event(entities: Sequence[FollowedEntity]) -> str:
    """Return SQL for what GET gives to an owner of what an event `e` happened to, NULL if it is not in the project."""
    cases = "".join(
        f"WHEN '{entity.name}' THEN (SELECT {entity.row} FROM {entity.table} r {entity.joins} "
        f"CROSS JOIN LATERAL (SELECT {entity.project_id} AS project_id, CAST(NULL AS bigint) AS user_id, "
        f"'owner' AS role) AS m WHERE {entity.id} = e.entity_id AND {entity.project_id} = e.project_id) "
        for entity in entities
    )
    return f"CASE e.entity {cases} END" if cases else "CAST(NULL AS text)"
