"""Answers as bytes: a JSON document that PostgreSQL has written, with the headers that go with it."""

from pydantic import BaseModel
from starlette.responses import Response

from taskmanager.http.preconditions import etag


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


def json_answer(model: BaseModel) -> JsonAnswer:
    """Return the answer that shows a model."""
    return JsonAnswer(model.__pydantic_serializer__.to_json(model))


class NotModified(Response):
    """The answer to a client that has this version already (RFC 9110, section 15.4.5)."""

    def __init__(self, version: int) -> None:
        self.status_code = 304
        self.background = None
        self.body = b""
        self.raw_headers = [(b"etag", etag(version).encode())]
