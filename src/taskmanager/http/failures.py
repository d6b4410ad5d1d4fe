"""Answers to exceptions, with their line in the log and their place in the metrics."""

import structlog
from starlette.responses import Response
from starlette.types import Scope

from taskmanager.http.problems import answer_to, problem_response, unavailable_cause
from taskmanager.idempotency.kept_answers import AlreadyAnsweredError
from taskmanager.telemetry.metrics import Metrics


def error_response(error: Exception, scope: Scope, metrics: Metrics, prefix: str) -> Response:
    """Return the answer to an exception, which is logged and counted if the service is at fault."""
    if isinstance(error, AlreadyAnsweredError):
        kept = error.answer
        return Response(kept.body, kept.status, {**kept.headers, "Idempotency-Replayed": "true"})
    answer = answer_to(error)
    if answer.status == 503:
        metrics.record_unavailable(unavailable_cause(error))
    if answer.status >= 500:
        log = structlog.stdlib.get_logger("taskmanager.error")
        if answer.status == 500:
            log.error("unexpected error", path=scope["path"], exc_info=error)
        else:
            log.warning("unavailable", path=scope["path"], cause=f"{type(error).__name__}: {error}"[:500])
    return problem_response(answer, scope, prefix)
