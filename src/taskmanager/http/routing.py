"""The route class of the whole API, strict about bodies and queries, and its routers."""

from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import cached_property
from typing import Any, Final, get_origin

from fastapi import APIRouter
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from taskmanager.errors import (
    MalformedBodyError,
    MalformedHeaderError,
    RepeatedQueryParameterError,
    UnknownQueryParameterError,
    UnsupportedContentEncodingError,
    UnsupportedContentTypeError,
)
from taskmanager.http.json_bodies import is_one_of, json_types, parse_json
from taskmanager.http.preconditions import read_if_match
from taskmanager.idempotency.header import read_idempotency_key

API_PREFIX: Final = "/api/v1"
_SINGLE: Final = {
    b"authorization": "Authorization",
    b"content-type": "Content-Type",
    b"idempotency-key": "Idempotency-Key",
    b"x-api-key": "X-API-Key",
}
_LISTS: Final = frozenset({b"if-match", b"if-none-match"})
FORMS: Final = ("application/x-www-form-urlencoded", "multipart/form-data")


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

    Headers are read where the route documents a 400. What may be given once only is never taken from several.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler so that the body is checked before any dependency runs."""
        handle = super().get_route_handler()
        methods = self.methods or set()
        accepted = self.accepted_types
        reads_headers = 400 in self.responses

        async def handle_strictly(request: Request) -> Response:
            headers, repeated = _join_repeated(request.scope["headers"])
            strict = StrictRequest({**request.scope, "headers": headers}, request.receive)
            if accepted:
                await _check_body(strict, accepted, is_patch="PATCH" in methods)
            if reads_headers:
                if repeated is not None:
                    raise MalformedHeaderError(repeated)
                read_if_match(strict.headers.get("if-match"))
                read_idempotency_key(strict.headers.get("idempotency-key"))
            return await handle(strict)

        return handle_strictly

    @property
    def accepted_types(self) -> tuple[str, ...]:
        """The content types of a body that this route takes."""
        return () if self.body_field is None else json_types(self.methods or set())

    @cached_property
    def query_parameters(self) -> dict[str, bool]:
        """The query parameters that this route knows, and whether each may be repeated."""
        return dict(_query_parameters(self.dependant))


def operation_id(route: APIRoute) -> str:
    """Return the name of a route's operation: camelCase, as generated clients name their methods."""
    first, *rest = route.name.split("_")
    suffix = "ByPut" if first == "update" and "PUT" in (route.methods or ()) else ""  # PUT and PATCH share a handler
    return first + "".join(word.capitalize() for word in rest) + suffix


def plain_router(prefix: str, *, tag: str) -> APIRouter:
    """Return a router of strict routes below a prefix, described under a tag."""
    return APIRouter(prefix=prefix, route_class=StrictRoute, tags=[tag], generate_unique_id_function=operation_id)


def api_router(prefix: str, *, tag: str) -> APIRouter:
    """Return a router of strict routes below a prefix of the API, described under a tag."""
    return plain_router(f"{API_PREFIX}{prefix}", tag=tag)


def _join_repeated(headers: Sequence[tuple[bytes, bytes]]) -> tuple[list[tuple[bytes, bytes]], str | None]:
    """Return headers with the lines of each list joined (RFC 9110, 5.3), and one that is repeated and is no list."""
    joined: dict[bytes, bytes] = {}
    others: list[tuple[bytes, bytes]] = []
    repeated = None
    for name, value in headers:
        if name not in _LISTS and name not in _SINGLE:
            others.append((name, value))
        elif name not in joined:
            joined[name] = value
        elif name in _LISTS:
            joined[name] += b", " + value
        else:
            repeated = _SINGLE[name]
    return [*others, *joined.items()], repeated


async def _check_body(request: StrictRequest, accepted: tuple[str, ...], *, is_patch: bool) -> None:
    if not await request.body():
        return
    codings = ",".join(request.headers.getlist("content-encoding")).split(",")
    if not {coding.strip().lower() for coding in codings} <= {"", "identity"}:
        raise UnsupportedContentEncodingError
    content_type = request.headers.get("content-type", "").encode("latin-1")
    if not is_one_of(accepted, content_type):
        raise UnsupportedContentTypeError(accepted, is_patch=is_patch)
    if not is_one_of(FORMS, content_type):
        await request.json()
        return
    form = await request.form()
    if len(form.multi_items()) > len(form):
        await request.close()
        raise MalformedBodyError("the form gives a field more than once")


def _query_parameters(dependant: Dependant) -> Iterator[tuple[str, bool]]:
    for field in dependant.query_params:
        annotation = field.field_info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            for name, one in annotation.model_fields.items():
                yield name, get_origin(one.annotation) is list
        else:
            yield field.alias, get_origin(annotation) is list
    for dependency in dependant.dependencies:
        yield from _query_parameters(dependency)


def refuse_unknown_query(request: Request) -> None:
    """Check the names in a request's query.

    Raises:
        UnknownQueryParameterError: The route does not know some of them.
        RepeatedQueryParameterError: Some that have a single value are given more than once.
    """
    if request.scope["query_string"]:
        route: StrictRoute = request.scope["route"]
        known = route.query_parameters
        if unknown := sorted(request.query_params.keys() - known.keys()):
            raise UnknownQueryParameterError(unknown)
        given = Counter(name for name, _ in request.query_params.multi_items())
        if repeated := sorted(name for name, times in given.items() if times > 1 and not known[name]):
            raise RepeatedQueryParameterError(repeated)
