"""The statements on webhooks that requests run; ownership is part of each WHERE clause."""

from typing import Final

from taskmanager.database.json_rows import after_key, json_object, json_page
from taskmanager.database.statements import Statement, Write
from taskmanager.webhooks.conditions import END, FLOOR, HERE, LAG_SECONDS, LOG, PARKED, STATE
from taskmanager.webhooks.schemas import WebhookRead

MOST_OF_PROJECT: Final = 20
_DERIVED_BY = """CASE WHEN w.key_fingerprint = :fingerprint THEN 'current'
     WHEN w.key_fingerprint = :former_fingerprint THEN 'rotate' ELSE 'lost' END"""
WEBHOOK = json_object(
    WebhookRead,
    "w",
    state=STATE,
    secret_state=f"({_DERIVED_BY})",
    secret_generation="w.generation",  # noqa: S106  # a number
    lag_seconds=LAG_SECONDS,
    parked=PARKED,
)
_FINGERPRINTS = {"fingerprint": "bytea", "former_fingerprint": "bytea"}
OWNER_ACCESS: Final = """access AS MATERIALIZED (
    SELECT p.id AS project_id, p.archived, m.role
    FROM projects p JOIN project_members m ON m.project_id = p.id AND m.user_id = :user_id
    WHERE p.id = :project_id {lock}
)"""
MAY_MANAGE: Final = "a.role = 'owner' AND NOT a.archived"

FIND = Statement(
    "find webhook",
    f"""
WITH {HERE}
SELECT a.role, convert_to({WEBHOOK}, 'UTF8') AS body, w.id
FROM project_members a CROSS JOIN here
LEFT JOIN webhooks w ON w.project_id = a.project_id AND w.id = :webhook_id AND a.role = 'owner'
WHERE a.project_id = :project_id AND a.user_id = :user_id
""",
    _FINGERPRINTS,
)
_NEXT = f"""
SELECT {WEBHOOK} AS json, w.created_at AS key_time, w.id AS key_id
FROM webhooks w CROSS JOIN here
WHERE w.project_id = a.project_id AND a.role = 'owner' AND {after_key("w.created_at", "w.id")}
ORDER BY w.created_at, w.id LIMIT :limit
"""
LIST = Statement(
    "list webhooks",
    f"""
WITH {HERE}
SELECT a.role, page.* FROM project_members a CROSS JOIN LATERAL ({json_page(_NEXT, "row.json")}) AS page
WHERE a.project_id = :project_id AND a.user_id = :user_id
""",
    _FINGERPRINTS,
)

# Those who create one at the same time come one after the other, so that their number is known.
LOCK = Write(
    "lock project for webhook",
    OWNER_ACCESS.format(lock="FOR NO KEY UPDATE OF p"),
    """
SELECT a.role, a.archived, (SELECT count(*) FROM webhooks w WHERE w.project_id = a.project_id) AS webhooks
FROM access a
""",
)
CREATE = Write(
    "create webhook",
    f"""
{LOG}, {HERE}, {END}, w AS (
    INSERT INTO webhooks (project_id, name, url, host, events, enabled, disabled_reason, key_fingerprint,
                          system_id, database_id, era, xid, event_id)
    SELECT :project_id, :name, :url, :host, :events, :enabled, CASE WHEN NOT :enabled THEN 'owner' END, :fingerprint,
           here.system_id, here.database_id, log_end.era, log_end.xid, log_end.event_id
    FROM here CROSS JOIN log_end
    WHERE :user_id IS NOT NULL
      AND (SELECT count(*) FROM webhooks w WHERE w.project_id = :project_id) < {MOST_OF_PROJECT}
    RETURNING *
)""",
    f"""
SELECT true AS done, w.id, w.project_id, CAST(NULL AS integer) AS version, convert_to({WEBHOOK}, 'UTF8') AS body
FROM w CROSS JOIN here
""",
    {
        **_FINGERPRINTS,
        "name": "text",
        "url": "text",
        "host": "text",
        "events": "text[]",
        "enabled": "boolean",
    },
)


def _change(name: str, assignments: str, more_steps: str = "", types: dict[str, str] | None = None) -> Write:
    """Return a write that changes a webhook `w`, which was `b` before."""
    return Write(
        name,
        f"""
{LOG}, {HERE}, {END}, {OWNER_ACCESS.format(lock="FOR SHARE OF p")}, b AS MATERIALIZED (
    SELECT w.*, {STATE} AS state FROM webhooks w JOIN access a ON a.project_id = w.project_id CROSS JOIN here
    WHERE w.id = :webhook_id AND {MAY_MANAGE} FOR UPDATE OF w
), w AS (
    UPDATE webhooks w SET {assignments}
    FROM b CROSS JOIN log CROSS JOIN log_end WHERE w.project_id = b.project_id AND w.id = b.id
    RETURNING w.*
){more_steps}""",
        f"""
SELECT a.role, a.archived, w.id IS NOT NULL AS done, w.id, a.project_id, CAST(NULL AS integer) AS version,
       CASE WHEN w.id IS NOT NULL THEN convert_to({WEBHOOK}, 'UTF8') END AS body
FROM access a CROSS JOIN here LEFT JOIN w ON true
""",
        {**_FINGERPRINTS, **(types or {})},
    )


_ENABLES = ":enabled IS TRUE AND NOT b.enabled"
# It goes on where it stopped, if what follows is there still.
_IS_BEHIND = f"{_ENABLES} AND (b.disabled_reason = 'retention' OR (b.era, b.xid, b.event_id) < {FLOOR})"
UPDATE = _change(
    "update webhook",
    f"""
    name = COALESCE(:name, w.name), url = COALESCE(:url, w.url), host = COALESCE(:host, w.host),
    events = COALESCE(:events, w.events), enabled = COALESCE(:enabled, w.enabled),
    disabled_reason = CASE WHEN :enabled IS TRUE THEN NULL
                           WHEN :enabled IS FALSE THEN COALESCE(w.disabled_reason, 'owner')
                           ELSE w.disabled_reason END,
    parked_in_row = CASE WHEN {_ENABLES} THEN 0 ELSE w.parked_in_row END,
    failing_since = CASE WHEN {_ENABLES} THEN NULL ELSE w.failing_since END,
    era = CASE WHEN {_IS_BEHIND} THEN log_end.era ELSE w.era END,
    xid = CASE WHEN {_IS_BEHIND} THEN log_end.xid ELSE w.xid END,
    event_id = CASE WHEN {_IS_BEHIND} THEN log_end.event_id ELSE w.event_id END,
    updated_at = now()
    """,
    f""", again AS (
    UPDATE webhook_deliveries d SET next_attempt_at = now(), tried_since = now()
    FROM b WHERE {_ENABLES} AND d.project_id = b.project_id AND d.webhook_id = b.id AND d.finished_at IS NULL
)""",
    {"name": "text", "url": "text", "host": "text", "events": "text[]", "enabled": "boolean"},
)
ROTATE = _change(
    "rotate secret of webhook",
    "generation = w.generation + 1, rotated_at = now(), key_fingerprint = :fingerprint, updated_at = now()",
)
REPLAY = Write(
    "replay webhook",
    f"""
{LOG}, {HERE}, {OWNER_ACCESS.format(lock="FOR SHARE OF p")}, wanted AS MATERIALIZED (
    SELECT (:era, CAST(:xid AS xid8), :event_id) < {FLOOR} AS is_below_floor,
           CAST(:xid AS xid8) >= pg_snapshot_xmax(pg_current_snapshot()) AND :era >= log.era AS is_ahead
    FROM log
), b AS MATERIALIZED (
    SELECT w.*, {STATE} AS state FROM webhooks w JOIN access a ON a.project_id = w.project_id CROSS JOIN here
    WHERE w.id = :webhook_id AND {MAY_MANAGE} FOR UPDATE OF w
), w AS (
    -- Of two requests before the next claim the one that goes back further counts.
    UPDATE webhooks w SET replay_era = first.era, replay_xid = first.xid, replay_event_id = first.event_id
    FROM b CROSS JOIN wanted CROSS JOIN LATERAL (
        SELECT * FROM (VALUES (:era, CAST(:xid AS xid8), :event_id), (b.replay_era, b.replay_xid, b.replay_event_id))
        AS of(era, xid, event_id) WHERE era IS NOT NULL ORDER BY era, xid, event_id LIMIT 1
    ) AS first
    WHERE w.project_id = b.project_id AND w.id = b.id AND b.state IN ('active', 'failing')
      AND NOT wanted.is_below_floor AND NOT wanted.is_ahead
    RETURNING w.*
)""",
    f"""
SELECT a.role, a.archived, wanted.is_below_floor, wanted.is_ahead, b.state,
       w.id IS NOT NULL AS done, b.id, a.project_id, CAST(NULL AS integer) AS version,
       CASE WHEN w.id IS NOT NULL THEN convert_to({WEBHOOK}, 'UTF8') END AS body
FROM access a CROSS JOIN here CROSS JOIN wanted LEFT JOIN b ON true LEFT JOIN w ON true
""",
    {**_FINGERPRINTS, "era": "integer", "xid": "text"},
)
DELETE = Write(
    "delete webhook",
    f"""
{OWNER_ACCESS.format(lock="FOR SHARE OF p")}, gone AS (
    DELETE FROM webhooks w USING access a
    WHERE w.project_id = a.project_id AND w.id = :webhook_id AND {MAY_MANAGE} RETURNING w.id
)""",
    """
SELECT a.role, a.archived, gone.id IS NOT NULL AS done, gone.id, a.project_id, CAST(NULL AS integer) AS version,
       CAST(NULL AS bytea) AS body
FROM access a LEFT JOIN gone ON true
""",
)
