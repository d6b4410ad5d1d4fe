"""The table of all routes: from a method and a path to the route, without the walk through FastAPI's tree."""

import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any, Final, cast

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

_ANY: Final = "{}"
# Where a scope holds the endpoint, or None, and the segments of the path that stand for parameters.
FOUND: Final = "taskmanager.found"
# What a path may have beside letters and digits (RFC 3986, section 3.3), percent-encoding left out.
_IN_PATHS: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/-]*", re.ASCII)
_LEADING_ZERO: Final = re.compile(r"0[0-9]+", re.ASCII)


def is_spelled_plainly(scope: Scope) -> bool:
    """Return whether a path is spelled the one way that is answered: without percent-encoding, which none needs.

    A server that gives no `raw_path` (Mangum) has decoded the path; what could only have come encoded is left to see.
    """
    if (raw_path := scope.get("raw_path")) is not None:
        return b"%" not in raw_path
    return _IN_PATHS.fullmatch(scope["path"]) is not None


class Endpoint:
    """A route under one of its methods; `template` is its path with the parameters' names."""

    __slots__ = ("app", "call", "parameters", "route", "template")

    def __init__(self, route: Route, template: str, app: ASGIApp, call: Any) -> None:
        self.route = route
        self.template = template
        self.app = app
        self.call = call
        self.parameters = [part[1:-1] for part in template.split("/") if part.startswith("{")]


class _Node:
    """What may follow a part of a path: words, any one segment, or the end, with the endpoints by method."""

    __slots__ = ("children", "endpoints")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.endpoints: dict[str, Endpoint] = {}

    def find(self, segments: list[str], position: int, found: list[str]) -> "_Node | None":
        """Return the node of a path; `found` gets the segments that stand for parameters."""
        if position == len(segments):
            return self if self.endpoints else None
        segment = segments[position]
        # A word that a route spells out is never taken for a parameter, unless nothing else fits the rest.
        if (child := self.children.get(segment)) is not None and (
            node := child.find(segments, position + 1, found)
        ) is not None:
            return node
        if segment and (child := self.children.get(_ANY)) is not None:
            found.append(segment)
            if (node := child.find(segments, position + 1, found)) is not None:
                return node
            found.pop()
        return None


class RouteTable:
    """All routes of an application, found by method and path."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._root = _Node()
        for context in iter_route_contexts(app.routes):
            if not isinstance(context.original_route, Route) or not context.methods or context.path is None:
                continue
            endpoint = Endpoint(context.original_route, context.path, cast("ASGIApp", context.app), context.endpoint)
            node = self._root
            for part in context.path.split("/"):
                node = node.children.setdefault(_ANY if part.startswith("{") else part, _Node())
            for method in context.methods:
                node.endpoints[method] = endpoint

    def __iter__(self) -> Iterator[tuple[str, Endpoint]]:
        """Yield every endpoint with its method."""
        nodes = [self._root]
        while nodes:
            node = nodes.pop()
            yield from node.endpoints.items()
            nodes += node.children.values()

    def find(self, method: str, scope: Scope) -> tuple[Endpoint | None, str | None, list[str]]:
        """Return the endpoint for a method and a path, its template, and the segments that stand for parameters.

        The endpoint is None if the path does not take the method, and the template too if there is nothing at the path.
        """
        values: list[str] = []
        node = self._root.find(scope["path"].split("/"), 0, values) if is_spelled_plainly(scope) else None
        if node is None:
            return None, None, values
        if (endpoint := node.endpoints.get(method)) is not None:
            return endpoint, endpoint.template, values
        return None, next(iter(node.endpoints.values())).template, values

    def route(self, method: str, template: str) -> Route:
        """Return the route of a method and a path with the parameters' names.

        Raises:
            LookupError: There is none.
        """
        for one, endpoint in self:
            if (one, endpoint.template) == (method, template):
                return endpoint.route
        raise LookupError(f"{method} {template}")

    def allowed_methods(self, scope: Scope) -> set[str]:
        """Return the methods that a path takes (RFC 9110, section 10.2.1); none if there is nothing at it."""
        node = self._root.find(scope["path"].split("/"), 0, []) if is_spelled_plainly(scope) else None
        allowed = set() if node is None else set(node.endpoints)
        return allowed | {"HEAD"} if "GET" in allowed else allowed

    async def dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have FastAPI handle a request by what was found for it, which is in the scope.

        Raises:
            HTTPException: There is nothing at the path (404), or it does not take the method (405).
        """
        endpoint: Endpoint | None
        endpoint, values = scope[FOUND]
        # Compiled handlers take no such ids, so that only this way has to look.
        if any(map(_LEADING_ZERO.fullmatch, values)):
            raise HTTPException(404)
        if endpoint is None:
            if not (allowed := self.allowed_methods(scope)):
                raise HTTPException(404)
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(allowed))})
        scope["app"] = self._app
        scope["route"] = endpoint.route
        scope["endpoint"] = endpoint.call
        scope["path_params"] = dict(zip(endpoint.parameters, values, strict=True))
        async with AsyncExitStack() as stack:
            scope["fastapi_middleware_astack"] = stack
            await endpoint.app(scope, receive, send)
