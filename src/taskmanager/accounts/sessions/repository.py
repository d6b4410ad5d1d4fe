"""Every statement on logins after they began."""

from dataclasses import dataclass
from enum import StrEnum

from taskmanager.accounts.schemas import SessionRead
from taskmanager.accounts.tokens import RefreshClaims
from taskmanager.database.json_rows import after_key, json_object, json_page
from taskmanager.database.reads import FoundPage, Reads
from taskmanager.database.statements import Statement, Write
from taskmanager.database.writes import Runner
from taskmanager.errors import NotFoundError
from taskmanager.http.pagination import Page

REFRESH_GRACE_SECONDS = 10


class RefreshOutcome(StrEnum):
    """What became of a refresh token."""

    ROTATED = "rotated"
    REPEATED = "repeated"
    REUSED = "reused"
    REFUSED = "refused"


@dataclass(frozen=True)
class Refresh:
    """A decision on a refresh token, and whose login it was."""

    outcome: RefreshOutcome
    user_id: int


# The row is locked before the decision, so that of two simultaneous refreshes the second sees the first.
_REFRESH = Write(
    "refresh session",
    """
found AS MATERIALIZED (
    SELECT s.id, s.user_id, s.generation, s.revoked_at, s.last_used_at FROM sessions s
    WHERE s.id = :session_id FOR UPDATE
), decided AS MATERIALIZED (
    SELECT f.id, f.user_id, CASE
        WHEN f.revoked_at IS NOT NULL OR u.disabled OR f.last_used_at < now() - make_interval(days => :idle_days)
            THEN 'refused'
        WHEN f.generation = :generation THEN 'rotated'
        WHEN f.generation = :generation + 1 AND f.last_used_at > now() - make_interval(secs => :grace_seconds)
            THEN 'repeated'
        ELSE 'reused' END AS outcome
    FROM found f JOIN users u ON u.id = f.user_id
), changed AS (
    UPDATE sessions s
    SET generation = s.generation + CASE d.outcome WHEN 'rotated' THEN 1 ELSE 0 END,
        last_used_at = CASE d.outcome WHEN 'rotated' THEN now() ELSE s.last_used_at END,
        revoked_at = CASE d.outcome WHEN 'reused' THEN now() END
    FROM decided d WHERE s.id = d.id AND d.outcome IN ('rotated', 'reused')
)""",
    "SELECT outcome, user_id FROM decided",
    {"generation": "integer", "idle_days": "integer", "grace_seconds": "double precision"},
)

_REVOKE = Write(
    "revoke session",
    """
revoked AS (
    UPDATE sessions SET revoked_at = now()
    WHERE id = :session_id AND user_id = :user_id AND revoked_at IS NULL
    RETURNING id
)""",
    """
SELECT true AS done, id, CAST(NULL AS bigint) AS project_id, CAST(NULL AS integer) AS version,
       CAST(NULL AS bytea) AS body
FROM revoked
""",
)

_REVOKE_FAMILY = Write(
    "revoke session of token",
    "revoked AS (UPDATE sessions SET revoked_at = now() WHERE id = :session_id AND revoked_at IS NULL)",
    "SELECT true AS done",
)

_REVOKE_OTHERS = Write(
    "revoke other sessions",
    """
revoked AS (
    UPDATE sessions SET revoked_at = now()
    WHERE user_id = :user_id AND id IS DISTINCT FROM :kept_id AND revoked_at IS NULL
    RETURNING id
)""",
    "SELECT true AS done, count(*) AS ended FROM revoked",
)

_NEXT = f"""
SELECT s.id, s.user_agent, s.created_at, s.last_used_at, s.id IS NOT DISTINCT FROM :current_id AS current,
       s.created_at AS key_time, s.id AS key_id
FROM sessions s
WHERE s.user_id = :user_id AND s.revoked_at IS NULL AND s.last_used_at > now() - make_interval(days => :idle_days)
  AND {after_key("s.created_at", "s.id", descending=True)}
ORDER BY s.created_at DESC, s.id DESC LIMIT :limit
"""
_LIST = Statement(
    "list sessions",
    json_page(_NEXT, json_object(SessionRead, "row"), descending=True),
    {"idle_days": "integer"},
    shared=True,
    most_shared=32,
)


class SessionReader:
    """Reads a user's logins."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def list_page(self, page: Page, *, user_id: int, current_id: int | None, idle_days: int) -> FoundPage:
        """Return a page of the logins that are still good, newest first, as `json_page` has it."""
        row = await self._reads.page(
            _LIST, **page.parameters, user_id=user_id, current_id=current_id, idle_days=idle_days
        )
        assert row is not None  # an aggregate always gives a row
        return row


class SessionWriter:
    """Writes logins."""

    def __init__(self, writes: Runner) -> None:
        self._writes = writes

    async def refresh(self, claims: RefreshClaims, *, idle_days: int) -> Refresh | None:
        """Rotate a login to its next generation, or revoke it where a spent token comes back.

        Within a few seconds of the rotation the spent token is taken as a retry whose answer got lost. Returns
        None for a login that is gone.
        """
        row = await self._writes.one(
            _REFRESH,
            session_id=claims.session_id,
            generation=claims.generation,
            idle_days=idle_days,
            grace_seconds=REFRESH_GRACE_SECONDS,
        )
        return None if row is None else Refresh(RefreshOutcome(row["outcome"]), row["user_id"])

    async def revoke_family(self, session_id: int) -> None:
        """End a login, if it has not ended yet."""
        await self._writes.one(_REVOKE_FAMILY, session_id=session_id)

    async def revoke(self, session_id: int, *, user_id: int) -> None:
        """End one of a user's logins.

        Raises:
            NotFoundError: They have no such login, or it has ended.
        """
        if await self._writes.one(_REVOKE, session_id=session_id, user_id=user_id) is None:
            raise NotFoundError("session")

    async def revoke_others(self, *, user_id: int, kept_id: int | None) -> int:
        """End all of a user's logins but one, and return how many."""
        row = await self._writes.one(_REVOKE_OTHERS, user_id=user_id, kept_id=kept_id)
        assert row is not None  # an aggregate always gives a row
        ended: int = row["ended"]
        return ended
