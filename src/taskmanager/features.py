"""What a feature gives to the application."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.types import Scope

from taskmanager.events.followed import FollowedEntity
from taskmanager.idempotency.kept_answers import PURGE
from taskmanager.maintenance.jobs import Job


@dataclass(frozen=True)
class Feature:
    """A part of the product: its routes, the things that clients follow, and what it does as long as it runs.

    `prepare` is called when the application is assembled and may set attributes of its state; `provides` names, for a
    dependency of handlers that returns such an attribute, which one it is. `start` is awaited when the application
    starts and its database fits; `background` runs from then on. `jobs` are run at intervals by the service, and once
    by `taskmanager maintain`. `admit` is awaited with the scope of each request before anything is done for it, and may
    refuse it by an error of `errors.py`.
    """

    routers: tuple[APIRouter, ...] = ()
    entities: tuple[FollowedEntity, ...] = ()
    prepare: Callable[[FastAPI], None] | None = None
    provides: Mapping[Callable[..., Any], str] = field(default_factory=dict)
    start: Callable[[FastAPI], Awaitable[None]] | None = None
    background: tuple[Callable[[FastAPI], Coroutine[Any, Any, None]], ...] = ()
    jobs: tuple[Job, ...] = ()
    admit: Callable[[Scope], Awaitable[None]] | None = None


def jobs_of(features: Iterable[Feature]) -> list[Job]:
    """Return all jobs of the background, those of the features and of what lies below them."""
    return [PURGE, *(job for feature in features for job in feature.jobs)]
