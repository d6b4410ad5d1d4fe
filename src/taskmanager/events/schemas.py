"""Schemas of who did something."""

from taskmanager.field_types import ResponseModel


class Actor(ResponseModel):
    """Who did it."""

    id: int
    username: str
