"""Logging: one structured line per event, JSON for machines or readable on a terminal."""

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quote
from typing import Any, Final

import structlog

from taskmanager.telemetry.log_writer import WHOLE_BYTES, LogWriter
from taskmanager.telemetry.request_context import CURRENT_REQUEST, RequestContext

_readable_access_log = structlog.stdlib.get_logger("taskmanager.access")


class AccessLog:
    """One line for each request: to structlog, or as JSON to `write`, where that is set.

    The JSON is written here, in a tenth of structlog's time, and has the fields that every line of the log has. Text
    from outside is always encoded as a JSON string in ASCII, so it can neither end a line nor begin a field.
    """

    def __init__(self) -> None:
        self.write: Callable[[bytes], object] | None = None
        self._held: list[str] = []
        self._second = -1
        self._second_text = ""

    def __call__(
        self,
        request: RequestContext,
        *,
        method: str,
        path: str,
        route: str | None,
        status: int,
        seconds: float,
        client: str | None,
        user_id: int | None,
    ) -> None:
        """Write the line of an answered request together with the others of this iteration of the event loop."""
        if self.write is None:
            _readable_access_log.info(
                "request",
                method=method,
                path=path,
                route=route,
                status=status,
                milliseconds=round(seconds * 1000, 1),
                client=client,
                user_id=user_id,
            )
            return
        rest = (
            f'"route": {"null" if route is None else quote(route)}, "status": {status}, '
            f'"milliseconds": {seconds * 1000:.1f}, "client": {"null" if client is None else quote(client)}, '
            f'"user_id": {"null" if user_id is None else int(user_id)}, "event": "request", '
            f'"request_id": "{request.request_id}", {_trace_fields(request) if request.trace_id else ""}'
            f'"level": "info", "logger": "taskmanager.access", "timestamp": "{self._timestamp()}"}}\n'
        )
        line = f'{{"method": {quote(method)}, "path": {quote(path)}, {rest}'
        if len(line) > WHOLE_BYTES:
            line = f'{{"method": {quote(method[:32])}, "path": {quote(path[:200])}, "path_length": {len(path)}, {rest}'
        if not self._held:
            asyncio.get_running_loop().call_soon(self.flush)
        self._held.append(line)

    def flush(self) -> None:
        """Write all lines that are held back in one call."""
        lines, self._held = self._held, []
        if lines and self.write is not None:
            self.write("".join(lines).encode("ascii"))

    def _timestamp(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._second_text}.{int((now - second) * 1_000_000):06d}Z"


class LogHandler(logging.Handler):
    """Passes every line except those of requests to the writer of the log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        try:
            log_writer.write(f"{self.format(record)}\n".encode(errors="backslashreplace"))
        except Exception:  # noqa: BLE001  # as the handlers of the standard library do it
            self.handleError(record)


log_writer: Final = LogWriter()
log_request: Final = AccessLog()


def _trace_fields(request: RequestContext) -> str:
    return "".join(f'"{name}": "{value}", ' for name, value in _trace_of(request).items())


def _trace_of(request: RequestContext) -> dict[str, str]:
    found = {"trace_id": request.trace_id, "span_id": request.span_id, "parent_id": request.parent_id}
    return {name: value for name, value in found.items() if value is not None}


def _add_request(_logger: Any, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    request = CURRENT_REQUEST.get()
    if request is not None:
        event = {**event, "request_id": request.request_id, **_trace_of(request)}
    return event


def _drop_duplicate(record: logging.LogRecord) -> bool:
    # `server.uvicorn_protocol` logs what is not HTTP itself, with the request id of its answer.
    return record.msg != "Invalid HTTP request received."


def configure_logging(*, readable: bool) -> None:
    """Send every log line of the process, uvicorn's included, to standard output in one format."""
    time_stamper = structlog.processors.TimeStamper(fmt="iso", utc=True)
    shared: list[structlog.types.Processor] = [
        _add_request,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        time_stamper,
    ]
    renderer: structlog.types.Processor
    if readable:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stdout is not None and sys.stdout.isatty(),
            # The pretty one prints local variables, and with them passwords.
            exception_formatter=structlog.dev.plain_traceback,
        )
    else:
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = LogHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.addFilter(_drop_duplicate)
        # Without a handler, uvicorn does not even format its own line of each request.
        logger.propagate = name != "uvicorn.access"
    log_request.write = None if readable else log_writer.write

    def describe_gap(lines: int) -> bytes:
        event = {"lines": lines, "event": "log lines dropped", "level": "warning", "logger": "taskmanager.log"}
        return str(renderer(None, "warning", time_stamper(None, "warning", event))).encode() + b"\n"

    # Python has no standard output if it was closed at the start; its descriptor then belongs to another file.
    log_writer.open(-1 if sys.stdout is None else sys.stdout.fileno(), describe_gap)
