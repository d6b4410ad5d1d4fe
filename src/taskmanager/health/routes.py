"""The greeting and the probes, which need no credential, and the metrics, which have a token of their own."""

from fastapi import Response

from taskmanager.errors import NotReadyError
from taskmanager.health.dependencies import AppReadiness, ScrapedMetrics
from taskmanager.health.schemas import Health, Message
from taskmanager.http.problems import problems
from taskmanager.http.routing import plain_router
from taskmanager.telemetry.metrics import MEDIA_TYPE

router = plain_router("", tag="health")


@router.get("/")
async def read_root() -> Message:
    """Greet."""
    return Message(message="Welcome to the Task Manager API")


@router.get("/health")
async def read_health() -> Health:
    """Say that the service runs; for people and simple monitors."""
    return Health(status="healthy")


@router.get("/livez")
async def read_liveness() -> Health:
    """Say that the process answers, without any I/O: restart it if it does not."""
    return Health(status="alive")


@router.get("/readyz", responses=problems(503))
async def read_readiness(readiness: AppReadiness) -> Health:
    """Say whether requests should be sent here: database and schema are checked at most once a second."""
    if reason := await readiness.problem():
        raise NotReadyError(reason)
    return Health(status="ready")


@router.get("/metrics", include_in_schema=False)
async def read_metrics(metrics: ScrapedMetrics) -> Response:
    """Tell Prometheus what this service counts, without asking the database."""
    return Response(await metrics.render(), media_type=MEDIA_TYPE)
