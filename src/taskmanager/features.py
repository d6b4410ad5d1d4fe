"""What a feature gives to the application."""

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI

from taskmanager.idempotency.kept_answers import PURGE
from taskmanager.maintenance.jobs import Job


@dataclass(frozen=True)
class Feature:
    """A part of the product: its routes, and what it does in the background.

    `jobs` are run at intervals by the service, and once by `taskmanager maintain`; `background` runs as long as the
    application does.
    """

    routers: tuple[APIRouter, ...]
    background: tuple[Callable[[FastAPI], Coroutine[Any, Any, None]], ...] = ()
    jobs: tuple[Job, ...] = ()


def jobs_of(features: Iterable[Feature]) -> list[Job]:
    """Return all jobs of the background, those of the features and of what lies below them."""
    return [PURGE, *(job for feature in features for job in feature.jobs)]
