"""Statements on the permits that processes take of the rate limits.

A row is one key in one window; the window begins with its first permit, in the database's time. A row whose window has
ended counts as none. Statements of several rows lock them in the order of their keys, so that two processes never
wait for each other.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

from taskmanager.database.database import SharedConnection
from taskmanager.database.statements import Statement

# A window that ends later than any can end was written by a wrong clock: it counts as ended.
_TAKE = Statement(
    "take permits",
    """
INSERT INTO rate_limits AS r (key, used, quota, resets_at)
SELECT key, least(permits, quota), quota, now() + make_interval(secs => :window_seconds)
FROM unnest(:keys, :permits, :quotas) AS asked (key, permits, quota)
ORDER BY key
ON CONFLICT ON CONSTRAINT rate_limits_pkey DO UPDATE SET (used, quota, resets_at) = (
    SELECT least(CASE WHEN lasts THEN r.used ELSE 0 END + excluded.used, excluded.quota),
           excluded.quota,
           CASE WHEN lasts THEN r.resets_at ELSE excluded.resets_at END
    FROM (VALUES (r.resets_at > now()
                  AND r.resets_at < excluded.resets_at + make_interval(secs => :window_seconds))) AS w (lasts)
)
RETURNING key,
          used - CASE WHEN old.resets_at = new.resets_at THEN old.used ELSE 0 END AS permits,
          quota - used AS remaining,
          resets_at,
          extract(epoch FROM resets_at - now())::double precision AS seconds
""",
    {"keys": "text[]", "permits": "bigint[]", "quotas": "bigint[]", "window_seconds": "float8"},
)

_GIVE_BACK = Statement(
    "give permits back",
    """
WITH taken AS (
    SELECT r.key, given.permits
    FROM rate_limits r JOIN (
        SELECT key, resets_at, count(*) AS permits FROM unnest(:keys, :windows) AS one (key, resets_at) GROUP BY 1, 2
    ) AS given USING (key, resets_at)
    ORDER BY r.key
    FOR UPDATE OF r
)
UPDATE rate_limits r SET used = greatest(r.used - taken.permits, 0) FROM taken WHERE r.key = taken.key
""",
    {"keys": "text[]", "windows": "timestamptz[]"},
)

_PURGE = Statement(
    "purge permits",
    """
DELETE FROM rate_limits WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM rate_limits WHERE resets_at < now() ORDER BY resets_at LIMIT :rows FOR UPDATE SKIP LOCKED
))
RETURNING 1
""",
    {"rows": "integer"},
)


class Demand(NamedTuple):
    """How many permits of a key are wanted, and how many there are in a window."""

    key: str
    permits: int
    quota: int


class Grant(NamedTuple):
    """What was granted: permits, those that are left for others, and the window's end, as a time and in seconds."""

    permits: int
    remaining: int
    resets_at: datetime
    seconds: float


class PermitRepository:
    """Takes permits and gives them back; each method is one statement, which is committed when it returns."""

    def __init__(self, connection: SharedConnection) -> None:
        self._connection = connection

    async def take(self, demands: Sequence[Demand], *, window_seconds: float) -> dict[str, Grant]:
        """Take as many permits of each key as are wanted and left; no key may come twice."""
        parameters = {
            "keys": [demand.key for demand in demands],
            "permits": [demand.permits for demand in demands],
            "quotas": [demand.quota for demand in demands],
            "window_seconds": window_seconds,
        }
        rows = await self._send(_TAKE, parameters)
        # Fewer than none after the quota was lowered.
        return {
            row["key"]: Grant(max(row["permits"], 0), row["remaining"], row["resets_at"], row["seconds"])
            for row in rows
        }

    async def give_back(self, permits: Collection[tuple[str, datetime]]) -> None:
        """Return permits, each to the window that ends at the given time, if it still lasts."""
        keys, windows = zip(*permits, strict=True)
        await self._send(_GIVE_BACK, {"keys": list(keys), "windows": list(windows)})

    async def purge(self, rows: int) -> int:
        """Delete up to so many rows whose windows have ended, without waiting for locks, and return the number."""
        return len(await self._send(_PURGE, {"rows": rows}))

    async def _send(self, statement: Statement, values: Mapping[str, Any]) -> Sequence[asyncpg.Record]:
        return await self._connection.fetch(statement.lone, *statement.arguments(values))
