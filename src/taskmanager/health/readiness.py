"""Whether this process can serve requests, asked often and answered cheaply."""

import asyncio
import time

from taskmanager.database.database import REQUEST_CONNECT_SECONDS, Database, SchemaError
from taskmanager.database.driver_errors import DATABASE_ERRORS
from taskmanager.database.failures import failure_reason
from taskmanager.http.draining import Drain
from taskmanager.settings import Settings

_CACHE_SECONDS = 1.0
_PATIENCE_SECONDS = 1.5


class Readiness:
    """Checks the database over a connection of its own, at most once a second, unless the process drains."""

    def __init__(self, settings: Settings, drain: Drain) -> None:
        self._drain = drain
        # A pool of its own, so that a busy main pool never looks like a dead database, and less patience.
        limits = {
            "database_pool_size": 1,
            "database_command_timeout_seconds": min(_PATIENCE_SECONDS, settings.database_command_timeout_seconds),
            "database_statement_timeout_ms": min(int(_PATIENCE_SECONDS * 900), settings.database_statement_timeout_ms),
        }
        self._database = Database(settings, connect_wait_seconds=REQUEST_CONNECT_SECONDS, limits=limits)
        self._lock = asyncio.Lock()
        self._checked_at = float("-inf")
        self._reason: str | None = None

    async def problem(self) -> str | None:
        """Return why no request should come here now, or None if all is well."""
        if self._drain.started:
            return "draining"
        async with self._lock:
            if time.monotonic() - self._checked_at >= _CACHE_SECONDS:
                self._reason = await self._check()
                self._checked_at = time.monotonic()
            return self._reason

    async def dispose(self) -> None:
        """Close the connection."""
        await self._database.dispose()

    async def _check(self) -> str | None:
        try:
            await self._database.check_schema()
        except SchemaError as error:
            # Settings of a database or a role apply from the next connection on.
            await self._database.engine.dispose()
            return error.reason
        except DATABASE_ERRORS as error:
            return failure_reason(error)
        return None
