"""Logging: one structured line per event, JSON for machines or readable on a terminal."""

import asyncio
import logging
import sys
import time
from contextlib import suppress
from json.encoder import encode_basestring_ascii as quote
from typing import Any, BinaryIO, Final

import structlog

from taskmanager.request_context import CURRENT_REQUEST, RequestContext

# Up to this length a line reaches a pipe in one piece, whoever else writes to it (POSIX, PIPE_BUF on Linux).
_WHOLE_LINE_BYTES: Final = 4_096
_readable_access_log = structlog.stdlib.get_logger("taskmanager.access")


class AccessLog:
    """One line for each request: to structlog, or as JSON straight to a stream.

    The JSON is put together here, in a tenth of the time, and has the fields that every line of the log has. Text from
    outside is always encoded as a JSON string in ASCII, so it can neither end a line nor begin a field.
    """

    def __init__(self) -> None:
        self.stream: BinaryIO | None = None
        self._held: list[bytes] = []
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
        """Write the line of a request that has been answered, with the others of this turn of the event loop."""
        if self.stream is None:
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
        if len(line) > _WHOLE_LINE_BYTES:
            line = f'{{"method": {quote(method[:32])}, "path": {quote(path[:200])}, "path_length": {len(path)}, {rest}'
        if not self._held:
            asyncio.get_running_loop().call_soon(self.flush)
        self._held.append(line.encode("ascii"))

    def flush(self) -> None:
        """Write the lines that are held back, in pieces that reach a pipe whole."""
        lines, self._held = self._held, []
        piece = b""
        for line in lines:
            if len(piece) + len(line) > _WHOLE_LINE_BYTES:
                self._write(piece)
                piece = b""
            piece += line
        self._write(piece)

    def _write(self, piece: bytes) -> None:
        # A log that cannot be written is no reason to fail.
        if self.stream is not None and piece:
            with suppress(OSError, ValueError):
                self.stream.write(piece)
                self.stream.flush()

    def _timestamp(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = second
        return f"{self._second_text}.{int((now - second) * 1_000_000):06d}Z"


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


def _is_not_told_elsewhere(record: logging.LogRecord) -> bool:
    # `http_protocol` tells of what is not HTTP, with a request id that leads to the line.
    return record.msg != "Invalid HTTP request received."


def configure_logging(*, readable: bool) -> None:
    """Send every log line of the process, uvicorn's included, to standard output in one format."""
    shared: list[structlog.types.Processor] = [
        _add_request,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.types.Processor
    if readable:
        renderer = structlog.dev.ConsoleRenderer(
            colors=sys.stdout.isatty(),
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
    handler = logging.StreamHandler(sys.stdout)
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
        logger.addFilter(_is_not_told_elsewhere)
        # Without any handler to reach, uvicorn does not even put its line of each request together.
        logger.propagate = name != "uvicorn.access"
    # SQLAlchemy tells of every pool that ends, and takes a pool's name for that of its logger.
    logging.getLogger("taskmanager.database.database.MeasuredPool").setLevel(logging.WARNING)
    log_request.stream = None if readable else sys.stdout.buffer
