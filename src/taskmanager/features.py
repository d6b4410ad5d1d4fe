"""What a feature gives to the application."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI


@dataclass(frozen=True)
class Feature:
    """A part of the product: its routes, and what it does in the background as long as the application runs."""

    routers: tuple[APIRouter, ...]
    background: tuple[Callable[[FastAPI], Coroutine[Any, Any, None]], ...] = ()
