"""OpenTelemetry through FastAPI's own telemetry; this module adds only what FastAPI cannot know.

FastAPI exports spans, metrics and logs over OTLP once OTEL_EXPORTER_OTLP_ENDPOINT is set and the extra `otel` is
installed. Otherwise nothing of OpenTelemetry is imported but its API, which FastAPI always does.
"""

from typing import Any, Final

from fastapi.telemetry import TelemetryConfig
from opentelemetry import trace
from starlette.types import Scope

from taskmanager.telemetry.request_context import RequestContext

# Probes and metrics come every few seconds and would hide everything else; streams last for long, and their queries may
# hold tickets.
_UNTRACED: Final = frozenset({"/livez", "/readyz", "/health", "/metrics", "/api/v1/events"})


def _is_untraced(scope: Any) -> bool:
    return scope.get("path") in _UNTRACED


TELEMETRY: Final[TelemetryConfig] = {"auto_configure": True, "exclude": _is_untraced}


def has_telemetry(scope: Scope) -> bool:
    """Return whether FastAPI's telemetry is on for this request, even if it leaves this one out."""
    return "fastapi.telemetry" in scope


def join_span(scope: Scope, request: RequestContext) -> None:
    """Let the log lines of a request name the span that FastAPI has begun for it, if it did."""
    if scope.get("fastapi.telemetry") is not None:
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            request.trace_id, request.span_id = f"{span.trace_id:032x}", f"{span.span_id:016x}"


def name_span(scope: Scope, route: str | None) -> None:
    """Name the span of a request by the template of its route, for routes that FastAPI's router did not find."""
    if route is not None and scope.get("fastapi.telemetry") is not None:
        span = trace.get_current_span()
        span.set_attribute("http.route", route)
        span.update_name(f"{scope['method']} {route}")
