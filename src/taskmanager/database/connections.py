"""Decides how connections are opened and closed, and with which settings."""

from functools import cached_property
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from taskmanager.database.connection_opener import ConnectionOpener
from taskmanager.database.poolers import HELD_STATEMENTS, Connector, DriverConnection, PoolerMode
from taskmanager.database.server_settings import RoleSettings, connection_settings
from taskmanager.database_settings import DatabaseSettings
from taskmanager.libpq.address import Address, read_address

# Where a server is and how it is reached is all in the arguments of the driver.
DRIVER_URL = "postgresql+asyncpg://"
_MOST_CONNECT_SECONDS = 30.0
# Statements that SQLAlchemy keeps compiled, per engine, and prepared, per connection; each takes some 15 KB.
_COMPILED_STATEMENTS = 64
_PREPARED_STATEMENTS = 64


class EngineMaker:
    """Makes the engines of a database, and closes them.

    `connect_wait_seconds` is how long a request waits for a new connection (None: as long as the settings allow).
    `role_settings` have to be in force behind a pooler in transaction mode, unless they are None.

    Raises:
        ValueError: The settings name no database.
    """

    def __init__(
        self, settings: DatabaseSettings, connect_wait_seconds: float | None, role_settings: RoleSettings | None
    ) -> None:
        if settings.database_url is None:
            raise ValueError("DATABASE_URL is not set")
        self._url = settings.database_url
        self._settings = settings
        self._connect_wait_seconds = connect_wait_seconds
        self._connector = Connector(settings, role_settings)
        self._engines: list[AsyncEngine] = []
        self._openers: list[ConnectionOpener] = []

    @cached_property
    def _address(self) -> Address:
        return read_address(self._url)

    @property
    def pooler_mode(self) -> PoolerMode | None:
        """What lies before the server; None before the first connection, unless the settings say it."""
        return self._connector.mode

    def new(
        self,
        size: int,
        *,
        statement_timeout_ms: int | None = None,
        connect_args: dict[str, Any] | None = None,
        **options: Any,
    ) -> AsyncEngine:
        """Return an engine with so many connections, none of which is opened yet."""
        opener = ConnectionOpener(self._connector, self._connect_wait_seconds)
        timeout = statement_timeout_ms or self._settings.database_statement_timeout_ms
        arguments = {
            **_connect_args(self._settings, self._address, timeout),
            "async_creator_fn": opener,
            "prepared_statement_name_func": self._statement_name,
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
            "statement_cache_size": HELD_STATEMENTS,
            "max_cached_statement_lifetime": 0,
        }
        return self.new(size, statement_timeout_ms=timeout, isolation_level="AUTOCOMMIT", connect_args=connect_args)

    def _statement_name(self) -> str | None:
        # None lets the driver make one up.
        return "" if self.pooler_mode is PoolerMode.TRANSACTION else None

    async def close(self) -> None:
        """Close every connection."""
        for engine in self._engines:
            await engine.dispose()
        for opener in self._openers:
            await opener.close()


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
        "connection_class": DriverConnection,
        "prepared_statement_cache_size": _PREPARED_STATEMENTS,
        "timeout": _connect_timeout(settings, address),
        "command_timeout": statement_timeout_ms / 1000 + max(patience, 0.1),
        "server_settings": {**connection_settings(settings, statement_timeout_ms), **address.server_settings},
    }
