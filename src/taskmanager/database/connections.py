"""Decides how connections are opened and closed, and with which settings."""

from functools import cached_property
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from taskmanager.database.connection_opener import ConnectionOpener
from taskmanager.libpq.address import Address, read_address
from taskmanager.settings import DatabaseSettings

# Where a server is and how it is reached is all in the arguments of the driver.
DRIVER_URL = "postgresql+asyncpg://"
_MOST_CONNECT_SECONDS = 30.0
_CLOSE_TIMEOUT_SECONDS = 0.3
# Statements that SQLAlchemy keeps compiled, per engine, and prepared, per connection; each takes some 15 KB.
_COMPILED_STATEMENTS = 64
_PREPARED_STATEMENTS = 64
# Per held connection: every declared statement in both of its forms, and the most recent lists.
_HELD_STATEMENTS = 256


class EngineMaker:
    """Makes the engines of a database, and closes them.

    `connect_wait_seconds` is how long a request waits for a new connection (None: as long as the settings allow).

    Raises:
        ValueError: The settings name no database.
    """

    def __init__(self, settings: DatabaseSettings, connect_wait_seconds: float | None) -> None:
        if settings.database_url is None:
            raise ValueError("DATABASE_URL is not set")
        self._url = settings.database_url
        self._settings = settings
        self._connect_wait_seconds = connect_wait_seconds
        self._engines: list[AsyncEngine] = []
        self._openers: list[ConnectionOpener] = []

    @cached_property
    def _address(self) -> Address:
        return read_address(self._url)

    def new(
        self,
        size: int,
        *,
        statement_timeout_ms: int | None = None,
        connect_args: dict[str, Any] | None = None,
        **options: Any,
    ) -> AsyncEngine:
        """Return an engine with so many connections, none of which is opened yet."""
        opener = ConnectionOpener(self._connect_wait_seconds)
        timeout = statement_timeout_ms or self._settings.database_statement_timeout_ms
        arguments = {
            **_connect_args(self._settings, self._address, timeout),
            "async_creator_fn": opener,
            **(connect_args or {}),
        }
        engine = create_async_engine(
            DRIVER_URL,
            pool_size=size,
            max_overflow=0,
            pool_timeout=self._settings.database_pool_wait_seconds,
            pool_pre_ping=True,
            hide_parameters=True,
            query_cache_size=_COMPILED_STATEMENTS,
            connect_args=arguments,
            **options,
        )
        self._openers.append(opener)
        self._engines.append(engine)
        return engine

    def new_held(
        self, size: int, server_settings: dict[str, str], *, statement_timeout_ms: int | None = None
    ) -> AsyncEngine:
        """Return an engine of connections in AUTOCOMMIT that are held for long, past SQLAlchemy's own layers."""
        timeout = statement_timeout_ms or self._settings.database_statement_timeout_ms
        common = _connect_args(self._settings, self._address, timeout)["server_settings"]
        connect_args = {
            "server_settings": {**common, **server_settings},
            "statement_cache_size": _HELD_STATEMENTS,
            "max_cached_statement_lifetime": 0,
        }
        return self.new(size, statement_timeout_ms=timeout, isolation_level="AUTOCOMMIT", connect_args=connect_args)

    async def close(self) -> None:
        """Close every connection."""
        for engine in self._engines:
            await engine.dispose()
        for opener in self._openers:
            await opener.close()


class _DriverConnection(asyncpg.Connection):
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


def _connect_timeout(settings: DatabaseSettings, address: Address) -> float:
    of_address = address.connect_timeout_seconds
    if of_address is None or "database_connect_timeout_seconds" in settings.model_fields_set:
        return settings.database_connect_timeout_seconds
    return min(of_address, _MOST_CONNECT_SECONDS)


def _connect_args(settings: DatabaseSettings, address: Address, statement_timeout_ms: int) -> dict[str, Any]:
    # The client waits a little longer than the server, whose error says why it gave up.
    patience = settings.database_command_timeout_seconds - settings.database_statement_timeout_ms / 1000
    return {
        **address.connect_args(),
        "connection_class": _DriverConnection,
        "prepared_statement_cache_size": _PREPARED_STATEMENTS,
        "timeout": _connect_timeout(settings, address),
        "command_timeout": statement_timeout_ms / 1000 + max(patience, 0.1),
        "server_settings": {
            "application_name": "taskmanager",
            "timezone": "UTC",
            "jit": "off",
            # As on a solid-state disk. With the default, made for spinning disks, the planner prefers a bitmap scan and
            # a sort to reading a page in the order of its index, which is much slower once a project has grown.
            "random_page_cost": "1.1",
            # The statement that finds the search index's pending list full merges it; `search_index` does so earlier,
            # in the background. With this much memory a merge is one pass; with little it takes three times as long.
            "gin_pending_list_limit": "16MB",
            "work_mem": "64MB",
            "statement_timeout": str(statement_timeout_ms),
            "lock_timeout": str(settings.database_lock_timeout_ms),
            "idle_in_transaction_session_timeout": "10000",
            **address.server_settings,
        },
    }
