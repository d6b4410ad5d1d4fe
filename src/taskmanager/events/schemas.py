"""Whom answers name."""

from pydantic import Field

from taskmanager.field_types import ResponseModel


class Person(ResponseModel):
    """A person, as others see them."""

    id: int
    username: str | None = Field(description="Null once the account is deleted.")
    display_name: str | None = Field(description="What to show; null for the user name.")
