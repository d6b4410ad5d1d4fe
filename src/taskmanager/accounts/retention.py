"""Deletes logins and API keys that ended long ago."""

from taskmanager.database.statements import Statement
from taskmanager.maintenance.jobs import Batch, Job, Progress

# Logins are looked through by id: an index for their ends would have to be written with every refresh. The pass ends
# where they are so young that none can have ended long ago.
_PURGE_SESSIONS = Statement(
    "purge ended sessions",
    """
WITH seen AS MATERIALIZED (
    SELECT id, created_at < now() - make_interval(days => :kept_days) AS is_old,
           COALESCE(revoked_at, last_used_at + make_interval(days => :idle_days))
               < now() - make_interval(days => :kept_days) AS is_over
    FROM sessions WHERE id > :after_id ORDER BY id LIMIT :limit
), gone AS (
    DELETE FROM sessions WHERE id = ANY(ARRAY(
        SELECT s.id FROM seen JOIN sessions s ON s.id = seen.id WHERE is_over FOR UPDATE OF s SKIP LOCKED
    )) RETURNING 1
)
SELECT (SELECT count(*) FROM gone) AS rows, (SELECT max(id) FROM seen) AS last_id,
       (SELECT count(*) = :limit AND bool_or(is_old) FROM seen) AS goes_on
""",
    {"kept_days": "integer", "idle_days": "integer"},
)

_PURGE_API_KEYS = Statement(
    "purge ended API keys",
    """
WITH seen AS MATERIALIZED (
    SELECT id, expires_at < now() - make_interval(days => :kept_days) AS is_over
    FROM api_keys WHERE id > :after_id ORDER BY id LIMIT :limit
), gone AS (
    DELETE FROM api_keys WHERE id = ANY(ARRAY(SELECT id FROM seen WHERE is_over)) RETURNING 1
)
SELECT (SELECT count(*) FROM gone) AS rows, (SELECT max(id) FROM seen) AS last_id,
       (SELECT count(*) = :limit FROM seen) AS goes_on
""",
    {"kept_days": "integer"},
)


async def _purge_sessions(batch: Batch) -> Progress:
    kept_days = batch.settings.session_retention_days
    return await _purge(batch, _PURGE_SESSIONS, kept_days, idle_days=batch.settings.refresh_token_days)


async def _purge_api_keys(batch: Batch) -> Progress:
    return await _purge(batch, _PURGE_API_KEYS, batch.settings.api_key_retention_days)


async def _purge(batch: Batch, statement: Statement, kept_days: int, **values: int) -> Progress:
    if kept_days == 0:
        return Progress(0)
    row = await batch.run.one(statement, kept_days=kept_days, after_id=batch.after or 0, limit=batch.limit, **values)
    assert row is not None  # an aggregate always gives a row
    return Progress(row["rows"], row["last_id"] if row["goes_on"] else None)


PURGE_SESSIONS = Job("purge ended sessions", _purge_sessions)
PURGE_API_KEYS = Job("purge ended API keys", _purge_api_keys)
