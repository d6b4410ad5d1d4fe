"""What the probes answer."""

from pydantic import Field

from taskmanager.field_types import ResponseModel


class Message(ResponseModel):
    """A greeting."""

    message: str = Field(description="The greeting.", examples=["Welcome to the Task Manager API"])


class Health(ResponseModel):
    """The state of the service in a word."""

    status: str = Field(description="The state, such as `healthy`.", examples=["healthy"])
