"""What connections and statements cost: the pool's and the request's share."""

import time
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, ExceptionContext, ExecutionContext
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import AsyncAdaptedQueuePool, PoolProxiedConnection

from taskmanager.telemetry.request_context import current_timings


class MeasuredPool(AsyncAdaptedQueuePool):
    """A pool that tells how many are asking it for a connection, and the request how long that took."""

    waiting = 0

    @property
    def limit(self) -> int:
        """How many connections there may be."""
        return self.size()

    @property
    def in_use(self) -> int:
        """How many of them somebody holds."""
        return self.checkedout()

    def connect(self) -> PoolProxiedConnection:
        """Return a connection, which may have to be waited for, opened or tested.

        Raises:
            sqlalchemy.exc.TimeoutError: None was free in time.
            OSError: A new one could not be opened.
        """
        started = time.perf_counter()
        self.waiting += 1
        try:
            return super().connect()
        finally:
            self.waiting -= 1
            if (timings := current_timings()) is not None:
                timings.pool += time.perf_counter() - started


class StatementMeter:
    """Counts the statements of engines, commits included, and tells the request how long they took.

    `seconds` is the time from a statement's first byte to its last row, summed over all.
    """

    def __init__(self) -> None:
        self.statements = 0
        self.seconds = 0.0

    def watch(self, engine: AsyncEngine) -> None:
        """Count what is executed on an engine from now on."""
        event.listen(engine.sync_engine, "before_cursor_execute", self._begin)
        event.listen(engine.sync_engine, "after_cursor_execute", self._end)
        event.listen(engine.sync_engine, "handle_error", self._fail)

    def add(self, started: float) -> None:
        """Count a statement that began at this moment of `time.perf_counter` and has just ended."""
        seconds = time.perf_counter() - started
        self.statements += 1
        self.seconds += seconds
        if (timings := current_timings()) is not None:
            timings.database += seconds

    @staticmethod
    def _begin(_connection: Connection, _cursor: Any, _sql: str, _values: Any, context: Any, _many: bool) -> None:
        context.began_at = time.perf_counter()

    def _end(
        self,
        _connection: Connection,
        _cursor: Any,
        _sql: str,
        _values: Any,
        context: ExecutionContext | None,
        _many: bool,
    ) -> None:
        self.add(context.began_at)  # type: ignore[union-attr]  # put there by _begin

    def _fail(self, failure: ExceptionContext) -> None:
        began_at = getattr(failure.execution_context, "began_at", None)
        if began_at is not None:
            self.add(began_at)
