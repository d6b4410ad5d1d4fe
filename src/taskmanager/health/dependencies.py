"""What the probes ask for."""

from typing import Annotated

from fastapi import Depends, Request

from taskmanager.health.readiness import Readiness


async def get_readiness(request: Request) -> Readiness:
    """Return the application's readiness check."""
    readiness: Readiness = request.app.state.readiness
    return readiness


AppReadiness = Annotated[Readiness, Depends(get_readiness)]
