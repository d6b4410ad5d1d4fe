"""Opens connections in the way that what lies before the server allows: nothing, or a pooler such as PgBouncer.

A pooler in session mode gives a client one server connection until it leaves, so the client sets everything itself. One
in transaction mode gives each transaction any server connection, so nothing may be left behind on it: neither settings
nor prepared statements.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from taskmanager.database.checks import Fault
from taskmanager.database.server_settings import IN_FORCE, PASSED_ON_BY_POOLERS, RoleSettings, UnfitConnectionError
from taskmanager.database_settings import DatabaseSettings

_CLOSE_TIMEOUT_SECONDS = 0.3
# Per connection: every declared statement in both of its forms, and the most recent lists.
HELD_STATEMENTS = 512
_PID = "SELECT pg_backend_pid()"
_ROUNDS = 3
_PROBE_SECONDS = 2.0
_SAY_WHICH = "set DATABASE_POOLER=transaction, or DATABASE_POOLER=none for a pooler in session mode"


class PoolerMode(StrEnum):
    """What lies before the server."""

    NONE = "none"
    SESSION = "session"
    TRANSACTION = "transaction"


class DriverConnection(asyncpg.Connection):
    """A connection that closes within 0.3 s, because SQLAlchemy closes dead ones while a request waits.

    It counts as closed as soon as the server has ended it, so that the pool's test opens another one instead.
    """

    async def fetchrow(self, *arguments: Any, **options: Any) -> Any:
        """Run a statement, above all the pool's test, and return its first row.

        Raises:
            asyncpg.InterfaceError: The connection is closed.
        """
        try:
            return await super().fetchrow(*arguments, **options)
        except asyncpg.InternalClientError as error:
            self.terminate()
            raise asyncpg.InterfaceError("connection is closed") from error

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  # asyncpg's
        """Close the connection.

        Raises:
            TimeoutError: The server did not answer; the socket is closed all the same.
        """
        await super().close(timeout=min(timeout or _CLOSE_TIMEOUT_SECONDS, _CLOSE_TIMEOUT_SECONDS))


class _PooledConnection(DriverConnection):
    """A connection through a pooler, closed where others ask the server to cancel a statement.

    Under such requests PgBouncer 1.18 can end (its issue 822), and all its clients with it. The server ends the
    statement at its time-out.
    """

    def _cancel_current_command(self, *_waiters: Any) -> None:  # what the driver calls, without a public name
        # Not immediately: after this call the driver records that the connection is being cancelled.
        asyncio.get_running_loop().call_soon(self.terminate)


class _UnpreparedConnection(_PooledConnection):
    """A connection that leaves no prepared statement behind: it sends a statement's text whenever it runs.

    The driver asks for the types of a statement once, and keeps those alone. It asks without an end of transaction
    (Flush, not Sync), so a pooler gives the run that follows the same server connection.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._described: OrderedDict[str, PreparedStatement[asyncpg.Record]] = OrderedDict()

    async def fetch(self, query: str, *arguments: Any, **options: Any) -> Any:
        """Run a statement and return its rows; one message, except for the first time."""
        async with self._described_as(query) as statement:
            return await statement.fetch(*arguments, **options)

    async def fetchmany(self, query: str, args: Any, **options: Any) -> Any:
        """Run a statement for each of the sequences of arguments and return the rows of all."""
        async with self._described_as(query) as statement:
            return await statement.fetchmany(args, **options)

    @asynccontextmanager
    async def _described_as(self, query: str) -> "AsyncIterator[PreparedStatement[asyncpg.Record]]":
        statement = self._described.get(query)
        if statement is None:
            statement = await self.prepare(query, name="")
            self._described[query] = statement
            if len(self._described) > HELD_STATEMENTS:
                self._described.popitem(last=False)
        else:
            self._described.move_to_end(query)
        try:
            yield statement
        except BaseException:
            # Its types may have changed with the schema.
            self._described.pop(query, None)
            raise

    def terminate(self) -> None:
        """Close the socket."""
        self._described.clear()
        super().terminate()

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  # asyncpg's
        """Close the connection.

        Raises:
            TimeoutError: The server did not answer; the socket is closed all the same.
        """
        self._described.clear()
        await super().close(timeout=timeout)


class Connector:
    """Opens the connections of a process, and finds out with the first one what lies before the server.

    `mode` is None until then. With `role_settings` a connection through a pooler has to have those in force.
    """

    def __init__(self, settings: DatabaseSettings, role_settings: RoleSettings | None) -> None:
        self.mode = PoolerMode.TRANSACTION if settings.database_pooler == "transaction" else None
        self._is_given = settings.database_pooler is not None
        self._role_settings = role_settings
        self._finding = asyncio.Lock()

    async def __call__(self, **options: Any) -> "asyncpg.Connection[asyncpg.Record]":
        """Return a new connection; the options are those of `asyncpg.connect`.

        Raises:
            UnfitConnectionError: There is a pooler, and what the service needs is not set up behind it.
            asyncpg.PostgresError: The server refused the connection.
            OSError: The server cannot be reached.
        """
        if self.mode in {PoolerMode.SESSION, PoolerMode.TRANSACTION}:
            return await self._through_pooler(options)
        try:
            connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(**options)
        except asyncpg.ProtocolViolationError as error:
            if not refuses_settings(error):
                raise
        else:
            if self.mode is PoolerMode.NONE or await _keep_if_direct(connection):
                self.mode = PoolerMode.NONE
                return connection
        async with self._finding:
            if self.mode not in {PoolerMode.SESSION, PoolerMode.TRANSACTION}:
                is_shared = not self._is_given and await _shares_server_connections(options)
                self.mode = PoolerMode.TRANSACTION if is_shared else PoolerMode.SESSION
        return await self._through_pooler(options)

    async def _through_pooler(self, options: dict[str, Any]) -> "asyncpg.Connection[asyncpg.Record]":
        is_shared = self.mode is PoolerMode.TRANSACTION
        allowed = _unprepared(options) if is_shared else _passed_on(options)
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(**allowed)
        try:
            if is_shared:
                await self._check_role_settings(connection)
            else:
                await _set(connection, options["server_settings"])
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _check_role_settings(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        if self._role_settings is None:
            return
        found = await connection.fetchrow(IN_FORCE)
        assert found is not None
        if fault := self._role_settings.fault(dict(found)):
            raise UnfitConnectionError(fault)


async def is_direct(connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
    """Return whether a connection leads to the server itself: poolers make up the number that clients know it by."""
    return await _pid(connection) == connection.get_server_pid()


async def _keep_if_direct(connection: "asyncpg.Connection[asyncpg.Record]") -> bool:
    found = False
    try:
        found = await is_direct(connection)
    finally:
        if not found:
            connection.terminate()
    return found


async def _pid(connection: "asyncpg.Connection[asyncpg.Record]") -> int:
    # Without a name, which would stay on the server connection of a pooler.
    pid: int = await (await connection.prepare(_PID, name="")).fetchval()
    return pid


def refuses_settings(error: BaseException) -> bool:
    """Return whether a pooler refused a connection because of the settings that came with it."""
    return "startup parameter" in str(error)


def _passed_on(options: dict[str, Any]) -> dict[str, Any]:
    given = options["server_settings"]
    settings = {name: given[name] for name in PASSED_ON_BY_POOLERS}
    return {**options, "server_settings": settings, "connection_class": _PooledConnection}


def _unprepared(options: dict[str, Any]) -> dict[str, Any]:
    return {**_passed_on(options), "statement_cache_size": 0, "connection_class": _UnpreparedConnection}


async def _set(connection: "asyncpg.Connection[asyncpg.Record]", settings: dict[str, str]) -> None:
    values = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in settings.items())
    await connection.execute(f"SELECT {values}")


async def _shares_server_connections(options: dict[str, Any]) -> bool:
    """Return whether two clients of a pooler share server connections, each asking twice in turn.

    A pooler in transaction mode hands out the last one that came back, so the other client gets it, or the one that
    came back first, so the same client gets another. In session mode neither ever happens.
    """
    first = await asyncpg.connect(**_unprepared(options))
    try:
        seen = {await _pid(first), await _pid(first)}
        # From here on the server is known to answer.
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                return await _meets(first, seen, options)
        except TimeoutError as error:
            raise UnfitConnectionError(
                Fault("there is a pooler before the database, and its mode cannot be found out", _SAY_WHICH)
            ) from error
    finally:
        first.terminate()


async def _meets(first: "asyncpg.Connection[asyncpg.Record]", seen: set[int], options: dict[str, Any]) -> bool:
    second = await asyncpg.connect(**_unprepared(options))
    others = set[int]()
    try:
        for _ in range(_ROUNDS):
            others |= {await _pid(second), await _pid(second)}
            seen |= {await _pid(first), await _pid(first)}
    finally:
        second.terminate()
    return len(seen) > 1 or len(others) > 1 or seen == others
