"""Stores answers, so that a request which is sent again has one effect and one answer.

An answer is stored in the statement or the transaction of its effect, so neither exists without the other. That
statement does nothing for a request that has been answered. It first tries an advisory lock, because an insert alone
would wait for a copy that still runs instead of answering 409. It inserts without ON CONFLICT, because its snapshot is
older than the lock: if a copy was faster, the insert fails with a unique violation and undoes the second effect. A
statement that many requests share is then undone as a whole, as a batch is, and each request is run alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import asyncpg

from taskmanager.database.driver_errors import violated_constraint
from taskmanager.database.reads import Reads
from taskmanager.database.statements import Statement
from taskmanager.errors import (
    IdempotencyKeyInUseError,
    IdempotencyKeyReusedError,
    NotFoundError,
    RoleTooLowError,
)
from taskmanager.idempotency.header import RequestIdentity
from taskmanager.maintenance.jobs import purge_job
from taskmanager.roles import Role

KEPT_HOURS = 24
_TYPES = {"key_method": "text", "key_path": "text", "key": "text"}
STORE_TYPES = {
    **_TYPES,
    "fingerprint": "bytea",
    "answer_role": "text",
    "answer_status": "integer",
    "answer_location": "text",
}
_EXPIRED = f"created_at <= now() - interval '{KEPT_HOURS} hours'"

_FIND = Statement(
    "find kept answer",
    f"""
SELECT k.{_EXPIRED} AS is_expired, k.fingerprint, k.status, k.headers, k.body, k.project_id, k.role AS needed, m.role
FROM idempotency_keys k
LEFT JOIN project_members m ON m.project_id = k.project_id AND m.user_id = k.user_id
WHERE k.user_id = :key_user_id AND k.method = :key_method AND k.path = :key_path AND k.key = :key
""",
    _TYPES,
    shared=True,
)

PURGE = purge_job(
    "purge kept answers",
    Statement(
        "purge kept answers",
        f"""
        DELETE FROM idempotency_keys WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM idempotency_keys WHERE {_EXPIRED} ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED
        )) RETURNING 1
        """,
    ),
    lambda _: {},
    interval_seconds=60.0,
)


def is_new(*, replaces: bool) -> str:
    """Return the condition on a `login` that its request has no answer and no copy of it runs in another transaction.

    With `replaces` it may have an expired answer.
    """
    still_good = f"AND NOT s.{_EXPIRED}" if replaces else ""
    return f"""
        (SELECT true FROM idempotency_keys s
         WHERE s.user_id = login.user_id AND s.method = :key_method AND s.path = :key_path AND s.key = :key
           {still_good}) IS NULL
        AND pg_try_advisory_xact_lock(:lock_id)
    """


# The same of a request `k` of a shared write.
NEW_REQUEST = """
(SELECT true FROM idempotency_keys s
 WHERE s.user_id = k.user_id AND s.method = k.key_method AND s.path = k.key_path AND s.key = k.key) IS NULL
AND pg_try_advisory_xact_lock(k.lock_id)
"""


def _insert(requests: str, condition: str) -> str:
    """Return the statement that stores answers: the rows of `requests` are a `result` and a `k` with STORE_TYPES."""
    return f"""
    INSERT INTO idempotency_keys (user_id, method, path, key, fingerprint, project_id, role, status, headers, body)
    SELECT k.user_id, k.key_method, k.key_path, k.key, k.fingerprint,
           CASE WHEN k.answer_role IS NOT NULL THEN result.project_id END, k.answer_role, k.answer_status,
           CASE WHEN result.body IS NULL THEN '{{}}' ELSE jsonb_strip_nulls(jsonb_build_object(
               'content-type', 'application/json', 'etag', '"' || result.version || '"',
               'location', k.answer_location || result.id
           )) END,
           COALESCE(result.body, '')
    FROM {requests} {condition}
    """


STORE_SHARED = f", stored AS ({_insert('result JOIN requests k ON k.n = result.n', '')})"


def store_steps(*, replaces: bool) -> str:
    """Return the steps that store the answer in `result`, a row of a `Write`, for the `caller`.

    With `replaces` they first delete an expired answer to the same key. The insert refers to that deletion, because
    PostgreSQL might run the insert first otherwise.
    """
    expired, after_it = "", ""
    if replaces:
        expired = f"""
expired AS (
    DELETE FROM idempotency_keys
    WHERE user_id = (SELECT user_id FROM caller) AND method = :key_method AND path = :key_path AND key = :key
      AND {_EXPIRED}
    RETURNING 1
), """
        after_it = "AND (SELECT count(*) FROM expired) >= 0"
    values = ", ".join(f":{name} AS {name}" for name in STORE_TYPES)
    request = f"result CROSS JOIN (SELECT user_id, {values} FROM caller) AS k"
    return f"{expired}stored AS ({_insert(request, f'WHERE result.done {after_it}')})"


@dataclass(frozen=True)
class AnswerShape:
    """What the answer to a write is beside its body: `location` is followed by the id of what was made.

    A repeated request gets it only if the user then has at least this `role` in its project; None asks for no role.
    """

    status: int = 200
    location: str | None = None
    role: Role | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of a statement that stores the answer."""
        return {"answer_status": self.status, "answer_location": self.location, "answer_role": self.role}


@dataclass(frozen=True)
class KeptAnswer:
    """An answer as it was given the first time."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class AlreadyAnsweredError(Exception):
    """Ends a request whose answer is kept."""

    def __init__(self, answer: KeptAnswer) -> None:
        super().__init__("already answered")
        self.answer = answer


async def refuse_answered(reads: Reads, request: RequestIdentity) -> None:
    """Check that a request has no answer, or an expired one.

    Raises:
        AlreadyAnsweredError: Its answer is kept.
        IdempotencyKeyReusedError: The key was used for another body.
        NotFoundError: The caller may not see any more what was made.
        RoleTooLowError: The caller may not make it any more.
    """
    row = await reads.one(_FIND, **request.name)
    if row is None or row["is_expired"]:
        return
    if row["fingerprint"] != request.fingerprint:
        raise IdempotencyKeyReusedError
    if row["project_id"] is not None:
        if row["role"] is None:
            raise NotFoundError("project")
        if not Role(row["role"]).includes(Role(row["needed"])):
            raise RoleTooLowError(row["needed"])
    raise AlreadyAnsweredError(KeptAnswer(row["status"], row["headers"], row["body"]))


async def refuse_running(reads: Reads, request: RequestIdentity) -> None:
    """Refuse a request of which a copy was faster or still runs.

    Raises:
        AlreadyAnsweredError: The copy has been answered.
        IdempotencyKeyInUseError: It still runs.
    """
    await refuse_answered(reads, request)
    raise IdempotencyKeyInUseError


def is_duplicate(error: asyncpg.UniqueViolationError) -> bool:
    """Return whether a statement failed because a copy of its request was faster."""
    return violated_constraint(error) == "idempotency_keys_pkey"
