"""The route class of the whole API, strict about bodies and queries, and the table of all routes."""

import json
import re
from collections.abc import Callable, Coroutine, Iterator
from functools import cached_property
from typing import Any, NoReturn, cast

from fastapi import FastAPI, params
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import Scope

from taskmanager.errors import MalformedBodyError, UnknownQueryParameterError, UnsupportedContentTypeError
from taskmanager.idempotency import (
    PENDING_ANSWER,
    PendingAnswer,
    ReplayError,
    StoredAnswer,
    read_idempotency_key,
)
from taskmanager.preconditions import etag, read_if_match

_RESERVED = frozenset({"bulk"})
_JSON = "application/json"
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def parse_json(body: bytes) -> Any:
    """Read a JSON document strictly: UTF-8 only, no NaN or Infinity (RFC 8259).

    Raises:
        MalformedBodyError: The bytes are not such a document, or nest too deeply to be read.
    """
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise MalformedBodyError("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise MalformedBodyError(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except ValueError as error:
        raise MalformedBodyError(str(error)) from None
    except RecursionError:
        raise MalformedBodyError("the document nests too deeply") from None


class StrictRequest(Request):
    """A request whose JSON body is read strictly."""

    async def json(self) -> Any:
        """Return the body's JSON document.

        Raises:
            MalformedBodyError: The body is not a JSON document in UTF-8.
        """
        if not hasattr(self, "_json"):
            self._json = parse_json(await self.body())
        return self._json


class StrictRoute(APIRoute):
    """A route that answers a wrong content type (415) and a malformed body or header (400) before anything else.

    Headers are read where the route documents a 400. It also stores the answer to a request with an Idempotency-Key,
    and gives the stored one.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler so that the body is checked before any dependency runs."""
        handle = super().get_route_handler()
        accepted: tuple[str, ...] = ()
        if self.body_field is not None:
            accepted = _FORMS if isinstance(self.body_field.field_info, params.Form) else (_JSON,)
        reads_headers = 400 in self.responses

        async def handle_strictly(request: Request) -> Response:
            strict = StrictRequest(request.scope, request.receive)
            if accepted:
                await _check_body(strict, accepted)
            if reads_headers:
                read_if_match(strict.headers.get("if-match"))
                read_idempotency_key(strict.headers.get("idempotency-key"))
            try:
                response = await handle(strict)
            except ReplayError as replay:
                return _replayed(replay.answer)
            pending: PendingAnswer | None = getattr(strict.state, PENDING_ANSWER, None)
            if pending is not None:
                # The transaction is still open: FastAPI commits it after this function has returned.
                await pending.store(StoredAnswer(response.status_code, dict(response.headers), bytes(response.body)))
            return response

        return handle_strictly

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match a request, but never take a word that another route spells out for an id."""
        match, child_scope = super().matches(scope)
        if match is not Match.NONE and not _RESERVED.isdisjoint(child_scope["path_params"].values()):
            return Match.NONE, {}
        return match, child_scope

    @cached_property
    def query_names(self) -> frozenset[str]:
        """The query parameters that this route knows."""
        return frozenset(_query_names(self.dependant))


async def _check_body(request: StrictRequest, accepted: tuple[str, ...]) -> None:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()
    if content_type in accepted:
        if body and accepted == (_JSON,):
            await request.json()
    elif body:
        raise UnsupportedContentTypeError(" or ".join(accepted))


def _replayed(answer: StoredAnswer) -> Response:
    headers = {**answer.headers, "Idempotency-Replayed": "true"}
    return Response(answer.body, status_code=answer.status, headers=headers)


def not_modified(version: int) -> Response:
    """Return the answer to a client that has this version already."""
    return Response(status_code=304, headers={"ETag": etag(version)})


def _query_names(dependant: Dependant) -> Iterator[str]:
    for field in dependant.query_params:
        annotation = field.field_info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from annotation.model_fields
        else:
            yield field.alias
    for dependency in dependant.dependencies:
        yield from _query_names(dependency)


def refuse_unknown_query(request: Request) -> None:
    """Check the names in a request's query.

    Raises:
        UnknownQueryParameterError: The route does not know some of them.
    """
    if request.scope["query_string"]:
        route: StrictRoute = request.scope["route"]
        if unknown := sorted(request.query_params.keys() - route.query_names):
            raise UnknownQueryParameterError(unknown)


class RouteTable:
    """All routes of an application, for what a single route cannot know."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    @cached_property
    def _templates(self) -> dict[int, str]:
        return {id(c.original_route): c.path for c in iter_route_contexts(self._app.routes) if c.path}

    @cached_property
    def _methods(self) -> list[tuple[re.Pattern[str], set[str]]]:
        return [(c.path_regex, set(c.methods)) for c in iter_route_contexts(self._app.routes) if c.methods]

    def find(self, method: str, path: str) -> APIRoute:
        """Return the route of a method and a path template.

        Raises:
            LookupError: There is none.
        """
        for context in iter_route_contexts(self._app.routes):
            if context.path == path and context.methods and method in context.methods:
                return cast("APIRoute", context.original_route)
        raise LookupError(f"{method} {path}")

    def template(self, scope: Scope) -> str | None:
        """Return the path template of the route that took a request, or None if no route did."""
        return self._templates.get(id(scope.get("route")))

    def allowed_methods(self, path: str) -> set[str]:
        """Return the methods that the routes of a path take (RFC 9110, section 10.2.1)."""
        allowed = set[str]()
        for pattern, methods in self._methods:
            if (match := pattern.match(path)) and _RESERVED.isdisjoint(match.groupdict().values()):
                allowed |= methods
        return allowed | {"HEAD"} if "GET" in allowed else allowed
