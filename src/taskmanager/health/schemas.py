"""What the probes answer."""

from taskmanager.field_types import ResponseModel


class Message(ResponseModel):
    """A greeting."""

    message: str


class Status(ResponseModel):
    """The state of the service in a word."""

    status: str
