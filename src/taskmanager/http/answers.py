"""Answers as bytes: a JSON document that PostgreSQL has written, with the headers that go with it."""

from collections.abc import Awaitable
from typing import Protocol

from pydantic import BaseModel
from starlette.responses import Response

from taskmanager.database.writes import Written
from taskmanager.http.preconditions import etag
from taskmanager.idempotency.kept_answers import AnswerShape
from taskmanager.roles import Role


class JsonAnswer(Response):
    """A JSON document, the version of what it shows, where that was created, and the page that follows."""

    def __init__(
        self,
        body: bytes,
        *,
        status: int = 200,
        version: int | None = None,
        location: str | None = None,
        link: str | None = None,
    ) -> None:
        self.status_code = status
        self.background = None
        self.body = body
        self.raw_headers = headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        if version is not None:
            headers.append((b"etag", etag(version).encode()))
        if location is not None:
            headers.append((b"location", location.encode("ascii")))
        if link is not None:
            headers.append((b"link", link.encode("latin-1")))


def json_answer(model: BaseModel, *, status: int = 200) -> JsonAnswer:
    """Return the answer that shows a model."""
    return JsonAnswer(model.__pydantic_serializer__.to_json(model), status=status)


class NotModified(Response):
    """The answer to a client that has this version already (RFC 9110, section 15.4.5)."""

    def __init__(self, version: int) -> None:
        self.status_code = 304
        self.background = None
        self.body = b""
        self.raw_headers = [(b"etag", etag(version).encode())]


class NoContent(Response):
    """The answer of a write that leaves nothing to show (RFC 9110, section 15.3.5)."""

    def __init__(self) -> None:
        self.status_code = 204
        self.background = None
        self.body = b""
        self.raw_headers = []


class ShapedWrites(Protocol):
    """Writes whose answer is kept for a retry."""

    shape: AnswerShape


async def answer_write(
    writes: ShapedWrites,
    work: Awaitable[Written],
    *,
    status: int = 200,
    location: str | None = None,
    role: Role | None = None,
) -> JsonAnswer:
    """Return the answer to a write, `work`, and have the same answer kept where the request asks for that.

    `location` is followed by the id of what was made. The kept answer is given again only to who has this `role` then.
    """
    writes.shape = AnswerShape(status, location, role)
    written = await work
    assert written.body is not None
    where = None if location is None else f"{location}{written.id}"
    return JsonAnswer(written.body, status=status, version=written.version, location=where)


async def answer_removal(writes: ShapedWrites, work: Awaitable[None]) -> NoContent:
    """Return the answer to a write that leaves nothing to show, and have it kept where the request asks for that."""
    writes.shape = AnswerShape(204)
    await work
    return NoContent()
