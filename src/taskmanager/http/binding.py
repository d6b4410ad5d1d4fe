"""Compiles handlers from their own signatures, for requests that are plain; FastAPI answers all others.

The binder reads a request only by what the signature declares. A request with anything unusual, such as a header that
the signature does not name, a repeated header or an invalid value, goes to FastAPI before anything has happened: the
binder never answers 400, 413, 415 or 422 itself. Once it has looked the caller up, the binder answers the request, and
errors go through the one table of problems. It knows no feature and no path; FastAPI handles a route that asks for
something the binder does not know.
"""

import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from types import NoneType
from typing import Any, Final, Protocol, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl

from fastapi import params
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.responses import Response
from starlette.types import Scope

from taskmanager.errors import TaskManagerError
from taskmanager.http.dispatch import Endpoint
from taskmanager.http.json_bodies import is_one_of, json_types, parse_json
from taskmanager.http.retries import retry_lost
from taskmanager.short_key_cache import cache_short_keys

# Headers that may change the meaning of a request.
MEANINGFUL_HEADERS: Final = frozenset(
    {
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"expect",
        b"idempotency-key",
        b"if-match",
        b"if-none-match",
        b"transfer-encoding",
        b"x-api-key",
    }
)
# Without a body, Content-Type means nothing.
_ALWAYS_READ: Final = frozenset({b"authorization", b"content-type", b"x-api-key"})
_OF_A_BODY: Final = frozenset({b"content-length", b"content-type"})
_ID: Final = re.compile(r"[1-9][0-9]{0,14}", re.ASCII)


class NotPlainError(Exception):
    """The request is unusual: FastAPI reads it again, from the start, and answers it."""


@dataclass(slots=True)
class PlainRequest:
    """A request with its meaningful headers, each given once, the parameters of its path, and its body once read."""

    scope: Scope
    headers: Mapping[bytes, bytes]
    path_values: Sequence[str]
    read_body: Callable[[], Awaitable[bytes]]
    body: bytes = b""
    reads: Any = None  # what the handler reads with; an authentication may have it check the caller


# Does no I/O; raises NotPlainError, or an error that FastAPI's way answers by 400 or 422 too.
Parse = Callable[[PlainRequest], Any]
# Awaited after the handler: raises if the caller's login does not hold.
Confirm = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Provider:
    """What a dependency gives to a plain request, and the headers that it reads."""

    provide: Parse
    headers: frozenset[bytes] = frozenset()


class Authentication(Protocol):
    """How a dependency finds the caller of a plain request."""

    async def admit(self, request: PlainRequest, scopes: Sequence[str]) -> tuple[Any, Confirm | None]:
        """Return the handler's argument for the caller, and a `Confirm` if it has to be awaited before the answer.

        Raises:
            NotPlainError: The credential is an unusual one.
            TaskManagerError: The caller is refused.
        """
        ...


class BoundRoute:
    """A handler that is called without FastAPI."""

    __slots__ = ("_authentication", "_caller", "_endpoint", "_parse", "_scopes", "headers", "takes_body", "takes_query")

    def __init__(
        self,
        endpoint: Callable[..., Awaitable[Response]],
        parse: Sequence[tuple[str, Parse]],
        caller: str,
        authentication: Authentication,
        scopes: Sequence[str],
        headers: frozenset[bytes],
        *,
        takes_query: bool,
        takes_body: bool,
    ) -> None:
        self._endpoint = endpoint
        self._parse = parse
        self._caller = caller
        self._authentication = authentication
        self._scopes = scopes
        self.headers = headers
        self.takes_query = takes_query
        self.takes_body = takes_body

    async def answer(self, request: PlainRequest) -> Response:
        """Return the handler's answer.

        Raises:
            NotPlainError: FastAPI has to read the request; nothing has happened.
        """
        if not self.headers.issuperset(request.headers) or (request.scope["query_string"] and not self.takes_query):
            raise NotPlainError
        if self.takes_body:
            request.body = await request.read_body()
        try:
            values = {name: parse(request) for name, parse in self._parse}
        except (ValidationError, TaskManagerError):
            raise NotPlainError from None
        values[self._caller], confirm = await self._authentication.admit(request, self._scopes)
        work = partial(self._endpoint, **values)
        if confirm is None:
            return await retry_lost(work)
        try:
            answer = await retry_lost(work)
        except Exception:
            # A caller who is refused gets no other error.
            await confirm()
            raise
        await confirm()
        return answer


def bind(
    endpoint: Endpoint,
    providers: Mapping[Callable[..., Any], Provider],
    authentications: Mapping[Callable[..., Any], Authentication],
) -> BoundRoute | str:
    """Return the compiled handler of an endpoint, or what in its signature is not known here."""
    hints = get_type_hints(endpoint.call, include_extras=True)
    parse: list[tuple[str, Parse]] = []
    headers = _ALWAYS_READ
    caller: tuple[str, Authentication, Sequence[str]] | None = None
    takes_query = takes_body = False
    if not _answers_itself(hints.get("return")):
        return f"returns {hints.get('return')}"
    for name in signature(endpoint.call).parameters:
        marker = _marker(hints[name])
        match marker:
            case params.Path() if name in endpoint.parameters:
                parse.append((name, _path(endpoint.parameters.index(name))))
            case params.Query() if (model := _model(hints[name])) is not None:
                parse.append((name, _query(model)))
                takes_query = True
            case params.Body() | None if type(marker) in {params.Body, NoneType} and (model := _model(hints[name])):
                parse.append((name, _body(model, json_types(endpoint.route.methods or ()))))
                headers |= _OF_A_BODY
                takes_body = True
            case params.Depends(dependency=call) if call is not None and call in authentications and caller is None:
                scopes = marker.scopes if isinstance(marker, params.Security) else None
                caller = name, authentications[call], scopes or ()
            case params.Depends(dependency=call) if call is not None and call in providers:
                parse.append((name, providers[call].provide))
                headers |= providers[call].headers
            case _:
                return f"{name}: {hints[name]}"
    if caller is None:
        return "no caller"
    return BoundRoute(endpoint.call, parse, *caller, headers, takes_query=takes_query, takes_body=takes_body)


def _answers_itself(hint: Any) -> bool:
    kinds = get_args(hint) or (hint,)
    return all(isinstance(kind, type) and issubclass(kind, Response) for kind in kinds)


def _marker(hint: Any) -> Any:
    metadata: Sequence[Any] = getattr(hint, "__metadata__", ())
    return next((one for one in reversed(metadata) if isinstance(one, (params.Param, params.Depends))), None)


def _model(hint: Any) -> type[BaseModel] | None:
    kind = getattr(hint, "__origin__", hint)
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _path(position: int) -> Parse:
    def parse(request: PlainRequest) -> int:
        text = request.path_values[position]
        if not _ID.fullmatch(text):
            raise NotPlainError
        return int(text)

    return parse


def _body(model: type[BaseModel], types: Collection[str]) -> Parse:
    validate = TypeAdapter(model).validate_python

    def parse(request: PlainRequest) -> BaseModel:
        if not is_one_of(types, request.headers.get(b"content-type", b"")):
            raise NotPlainError
        return validate(parse_json(request.body))

    return parse


def _query(model: type[BaseModel]) -> Parse:
    lists = {name for name, field in model.model_fields.items() if get_origin(field.annotation) is list}
    validate = TypeAdapter(model).validate_python

    @cache_short_keys(1_000)
    def read(query_string: bytes) -> BaseModel:
        given: dict[str, Any] = {}
        for name, value in parse_qsl(query_string.decode("latin-1"), keep_blank_values=True):
            if name in lists:
                given.setdefault(name, []).append(value)
            elif name in given:
                raise NotPlainError
            else:
                given[name] = value
        return validate(given)

    return lambda request: read(request.scope["query_string"])
