"""The greeting and the probes; they need no credential."""

from fastapi import APIRouter

from taskmanager.errors import NotReadyError
from taskmanager.health.dependencies import AppReadiness
from taskmanager.health.schemas import Message, Status
from taskmanager.problems import problems
from taskmanager.routing import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["health"])


@router.get("/")
async def read_root() -> Message:
    """Greet."""
    return Message(message="Welcome to the Task Manager API")


@router.get("/health")
async def read_health() -> Status:
    """Say that the service runs; for people and simple monitors."""
    return Status(status="healthy")


@router.get("/livez")
async def read_liveness() -> Status:
    """Say that the process answers, without any I/O: restart it if it does not."""
    return Status(status="alive")


@router.get("/readyz", responses=problems(503))
async def read_readiness(readiness: AppReadiness) -> Status:
    """Say whether requests should be sent here: database and schema are checked at most once a second."""
    if reason := await readiness.problem():
        raise NotReadyError(reason)
    return Status(status="ready")
