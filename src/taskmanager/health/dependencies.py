"""What the probes ask for, and who may read the metrics."""

from hmac import compare_digest
from typing import Annotated

from fastapi import Depends, Request
from starlette.exceptions import HTTPException

from taskmanager.errors import InvalidTokenError, UnauthenticatedError
from taskmanager.health.readiness import Readiness
from taskmanager.http.dependencies import AppSettings
from taskmanager.telemetry.metrics import Metrics


async def get_readiness(request: Request) -> Readiness:
    """Return the application's readiness check."""
    readiness: Readiness = request.app.state.readiness
    return readiness


AppReadiness = Annotated[Readiness, Depends(get_readiness)]


async def get_metrics(request: Request, settings: AppSettings) -> Metrics:
    """Return the application's metrics to a caller with their token.

    Raises:
        HTTPException: There is no token, so there are no metrics here (404).
        UnauthenticatedError: The caller shows none.
        InvalidTokenError: The caller shows another one.
    """
    if settings.metrics_token is None:
        raise HTTPException(404)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise UnauthenticatedError
    # As bytes: the header may hold any, and only ASCII text can be compared.
    if not compare_digest(token.encode("latin-1"), settings.metrics_token.get_secret_value().encode()):
        raise InvalidTokenError
    metrics: Metrics = request.app.state.metrics
    return metrics


ScrapedMetrics = Annotated[Metrics, Depends(get_metrics)]
