"""What the layer around all requests needs of the application."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from starlette.types import Scope

from taskmanager.http.cors import Cors
from taskmanager.http.draining import Drain
from taskmanager.telemetry.metrics import Metrics


@dataclass(frozen=True)
class Surroundings:
    """What the front needs of the application."""

    cors: Cors
    drain: Drain
    metrics: Metrics
    client_address: Callable[[Scope], str | None]
    path_prefix: Callable[[Scope], str]
    max_in_flight: int
    max_body_bytes: int
    admissions: Sequence[Callable[[Scope], Awaitable[None]]] = ()
