"""What statements cost, and a request's share of it."""

import time
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, ExceptionContext, ExecutionContext
from sqlalchemy.ext.asyncio import AsyncEngine

from taskmanager.telemetry.request_context import current_timings


class StatementMeter:
    """Counts the statements of engines, commits included, and adds their time to the request's timings.

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
