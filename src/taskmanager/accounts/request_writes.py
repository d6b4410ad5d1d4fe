"""The writes of one request: each checks the request's login and Idempotency-Key in its own statement."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import cache, cached_property, lru_cache
from typing import Any

import asyncpg

from taskmanager.accounts.callers import RequestReads
from taskmanager.accounts.statements import LOGIN_OF_REQUEST, good_session
from taskmanager.database.statements import SharedWrite, Statement, Write, always_a_row
from taskmanager.database.writes import TransactionRunner, WriteRunner, Written
from taskmanager.errors import IdempotencyKeyInUseError, InvalidTokenError, TaskManagerError
from taskmanager.idempotency.header import RequestIdentity
from taskmanager.idempotency.kept_answers import (
    NEW_REQUEST,
    STORE_SHARED,
    STORE_TYPES,
    AnswerShape,
    is_duplicate,
    is_new,
    refuse_answered,
    refuse_running,
    store_steps,
)


# More than are in use at a time; one that is dropped is made again.
@lru_cache(maxsize=256)
def _guarded(
    write: Write, *, checks_login: bool, claims_key: bool, stores_answer: bool, replaces_answer: bool, gives_one: bool
) -> Statement:
    """Return a write that changes nothing unless the login holds and the request is new.

    Its rows have `login_holds`, `is_claimed` and `is_found` beside the columns of the write. If the write returned no
    row there is one with NULL in all but the first two. With `gives_one` there is always one.
    """
    login = "SELECT CAST(:user_id AS bigint) AS user_id"
    if checks_login:
        login = f"SELECT u.id AS user_id {good_session(':login_session_id', ':login_user_id')}"
    callers = f"caller AS MATERIALIZED ({login})"
    holds, is_claimed = "EXISTS (SELECT FROM caller)", "true"
    if claims_key:
        callers = f"""
            login AS MATERIALIZED ({login}),
            caller AS MATERIALIZED (SELECT user_id FROM login WHERE {is_new(replaces=replaces_answer)})
        """
        holds, is_claimed = "EXISTS (SELECT FROM login)", holds
    steps, answer = (part.replace(":user_id", "(SELECT user_id FROM caller)") for part in (write.steps, write.answer))
    result = f"({answer})"
    if stores_answer:
        steps += f", result AS MATERIALIZED ({answer}), {store_steps(replaces=replaces_answer)}"
        result = "result"
    rows = always_a_row(result, f"{holds} AS login_holds, {is_claimed} AS is_claimed,", or_many=not gives_one)
    types = {**(write.types or {}), **(STORE_TYPES if claims_key or stores_answer else {})}
    sql = f"WITH {callers}, {steps} {rows}"
    return Statement(write.name, sql, types, most_shared=write.most_shared, one_row=gives_one)


# As many as there are shared writes, with a key and without.
@cache
def _checked(write: SharedWrite, *, has_key: bool) -> SharedWrite:
    """Return a shared write that leaves out requests whose login does not hold, and with a key those that are not new.

    With a key it stores the answers.
    """
    if not has_key:
        return write.extended({"session_id": "bigint"}, LOGIN_OF_REQUEST)
    return write.extended(
        {"session_id": "bigint", "lock_id": "bigint", **STORE_TYPES},
        f"{LOGIN_OF_REQUEST} AND {NEW_REQUEST}",
        STORE_SHARED,
        conflicts=("lock_id",),
    )


class RequestWrites(WriteRunner):
    """The writes of one request.

    The first write checks the login of `reads`, if there is one. A request with a key has an `identify`, which returns
    its identity once the caller is known; each transaction then claims the key and stores the answer, of this `shape`.
    """

    def __init__(
        self, writes: WriteRunner, reads: RequestReads, identify: Callable[[], RequestIdentity] | None
    ) -> None:
        self.shape = AnswerShape()
        self._writes = writes
        self.reads = reads
        self._identify = identify
        self._replaces_answer = False  # whether the key may have an expired answer

    @cached_property
    def _request(self) -> RequestIdentity | None:
        return None if self._identify is None else self._identify()

    async def one(self, statement: Statement, **values: Any) -> asyncpg.Record | None:
        """Return the row of a write that is one statement, committed when it returns.

        Raises:
            InvalidTokenError: The login has ended, or the account is disabled.
            AlreadyAnsweredError: The request was answered before.
            IdempotencyKeyInUseError: A copy of it runs now.
            IdempotencyKeyReusedError: Its key was used for another body.
        """
        if not isinstance(statement, Write):
            return await self._writes.one(statement, **values)
        request = self._request
        if request is None:
            rows = await self.run(self._send_one, statement, values)
            return rows[0] if rows else None
        rows = await self.run(self._send_one, statement, values, claims_key=True, stores_answer=True)
        if not rows or not rows[0]["done"]:
            # A copy may have been faster, and its effect be what refuses this one.
            await refuse_answered(self.reads, request)
        return rows[0] if rows else None

    @asynccontextmanager
    async def transaction(self, *, long: bool = False) -> AsyncIterator[TransactionRunner]:
        """Yield a runner whose statements are committed when the block ends, and rolled back when it raises.

        Raises:
            InvalidTokenError: The login has ended, or the account is disabled.
            AlreadyAnsweredError: The request was answered before.
            IdempotencyKeyInUseError: A copy of it runs now.
            IdempotencyKeyReusedError: Its key was used for another body.
        """
        request = self._request
        if request is None:
            async with self._writes.transaction(long=long) as runner:
                yield _RequestTransaction(self, runner, has_key=False)
            return
        if long:  # one that has been answered need not wait for the connection
            await refuse_answered(self.reads, request)
        try:
            async with self._writes.transaction(long=long) as runner:
                yield _RequestTransaction(self, runner, has_key=True)
        except TaskManagerError:
            # A copy may have been faster, and its effect be what refuses this one.
            await refuse_answered(self.reads, request)
            raise

    def note_more(self, rows: int) -> None:
        """Note that this request writes so many rows besides the one that every request is taken for."""
        self._writes.note_more(rows)

    async def share(self, write: SharedWrite, alone: Callable[[], Awaitable[Written]], **values: Any) -> Written:
        """Return the result of a write that several requests may share, or of `alone`; either checks login and key.

        Raises:
            InvalidTokenError: The login has ended, or the account is disabled.
            AlreadyAnsweredError: The request was answered before.
            IdempotencyKeyInUseError: A copy of it runs now.
            IdempotencyKeyReusedError: Its key was used for another body.
        """
        login = None if self.reads.has_checked else self.reads.login
        values["session_id"] = None if login is None else login.session_id
        if (request := self._request) is not None:
            values |= request.parameters | self.shape.parameters
        result = await self._writes.share(_checked(write, has_key=request is not None), alone, **values)
        self.reads.has_checked = True
        return result

    async def _send_one(self, statement: Statement, **values: Any) -> Sequence[asyncpg.Record]:
        row = await self._writes.one(statement, **values)
        return [] if row is None else [row]

    async def run(
        self,
        send: Callable[..., Awaitable[Sequence[asyncpg.Record]]],
        write: Write,
        values: dict[str, Any],
        *,
        claims_key: bool = False,
        stores_answer: bool = False,
        gives_one: bool = True,
    ) -> Sequence[asyncpg.Record]:
        """Run a write with the checks and the stored answer that it needs; `send` runs a statement.

        Raises:
            InvalidTokenError: The login has ended, or the account is disabled.
            AlreadyAnsweredError: The request was answered before.
            IdempotencyKeyInUseError: A copy of it runs now.
        """
        login = None if self.reads.has_checked else self.reads.login
        if login is None and not claims_key and not stores_answer:
            return await send(write, **values)
        values["login_session_id"], values["login_user_id"] = login[:2] if login is not None else (None, None)
        if (request := self._request) is not None:
            values |= request.parameters | self.shape.parameters
        statement = _guarded(
            write,
            checks_login=login is not None,
            claims_key=claims_key,
            stores_answer=stores_answer,
            replaces_answer=self._replaces_answer,
            gives_one=gives_one,
        )
        try:
            rows = await send(statement, **values)
        except asyncpg.UniqueViolationError as error:
            if request is None or not is_duplicate(error):
                raise
            await refuse_running(self.reads, request)
            raise
        if not rows[0]["login_holds"]:
            raise InvalidTokenError
        self.reads.has_checked = True
        if request is not None and not rows[0]["is_claimed"]:
            await refuse_answered(self.reads, request)
            if self._replaces_answer:
                raise IdempotencyKeyInUseError
            # Its answer may have expired, which is seldom, so the first statement does not look for that.
            self._replaces_answer = True
            return await self.run(
                send, write, values, claims_key=claims_key, stores_answer=stores_answer, gives_one=gives_one
            )
        return [row for row in rows if row["is_found"]]


class _RequestTransaction(TransactionRunner):
    """A transaction of a request: its first write checks the login and claims the key, its last stores the answer."""

    def __init__(self, request: RequestWrites, runner: TransactionRunner, *, has_key: bool) -> None:
        self._request = request
        self._runner = runner
        self._has_key = has_key
        self._is_claimed = not has_key

    async def one(self, statement: Statement, **values: Any) -> asyncpg.Record | None:
        """Return the row of a statement that gives one at most."""
        rows = await self.all(statement, **values)
        return rows[0] if rows else None

    async def all(self, statement: Statement, **values: Any) -> Sequence[asyncpg.Record]:
        """Return the rows of a statement."""
        return await self._run(statement, values, stores_answer=False)

    async def last(self, statement: Statement, **values: Any) -> asyncpg.Record | None:
        """Return the row of the last statement, whose answer is kept."""
        rows = await self._run(statement, values, stores_answer=self._has_key)
        return rows[0] if rows else None

    async def _run(
        self, statement: Statement, values: dict[str, Any], *, stores_answer: bool
    ) -> Sequence[asyncpg.Record]:
        if not isinstance(statement, Write):
            return await self._runner.all(statement, **values)
        claims_key, self._is_claimed = not self._is_claimed, True
        return await self._request.run(
            self._runner.all,
            statement,
            values,
            claims_key=claims_key,
            stores_answer=stores_answer,
            gives_one=False,
        )
