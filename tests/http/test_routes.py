"""Every route says who may call it, is strict, and documents what it answers."""

from collections import Counter
from collections.abc import Iterator
from inspect import isasyncgenfunction
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts

from taskmanager.accounts import dependencies
from taskmanager.http.problem_kinds import PROBLEM_KINDS
from taskmanager.http.routing import StrictRoute
from taskmanager.main import create_app
from taskmanager.stream.dependencies import admit as admit_to_stream
from tests.conftest import make_settings

API = "/api/v1"
# Each route has one of these in the tree of its dependencies, or nobody said who may call it.
ACCESS = {
    call
    for name in ("authenticate", "authenticate_administrator", "allow_anyone")
    if (call := getattr(dependencies, name, None))
} | {admit_to_stream}
# The body's own refusals, and those of a path or query that has something to refuse.
BODY_STATUSES = {"400", "413", "415", "422"}


def build() -> FastAPI:
    """Return the application without starting it."""
    return create_app(make_settings(database_url="postgresql://nowhere/nothing"))


APP = build()
CONTEXTS = [context for context in iter_route_contexts(APP.routes) if (context.path or "").startswith(API)]
OPENAPI: dict[str, Any] = APP.openapi()
OPERATIONS = [
    pytest.param(path, method, operation, id=f"{method.upper()} {path}")
    for path, item in OPENAPI["paths"].items()
    for method, operation in item.items()
]


def name_of(context: RouteContext) -> str:
    """Return how a route is named in a report."""
    return f"{' '.join(sorted(context.methods or ()))} {context.path}"


def tree_of(dependant: Dependant) -> Iterator[Dependant]:
    """Walk everything that a route depends on."""
    for dependency in dependant.dependencies:
        yield dependency
        yield from tree_of(dependency)


def calls_in(dependant: Dependant) -> set[Any]:
    """Return the functions that a route depends on."""
    return {dependency.call for dependency in tree_of(dependant)}


def references_in(document: Any) -> Iterator[str]:
    """Walk all `$ref` of a JSON document."""
    if isinstance(document, dict):
        if isinstance(reference := document.get("$ref"), str):
            yield reference
        for value in document.values():
            yield from references_in(value)
    elif isinstance(document, list):
        for value in document:
            yield from references_in(value)


def test_the_walk_finds_the_routes() -> None:
    paths = {context.path for context in CONTEXTS}
    assert {f"{API}/tasks", f"{API}/projects/{{project_id}}/tasks/{{task_id}}", f"{API}/token"} <= paths
    assert len(CONTEXTS) >= 25


@pytest.mark.parametrize("context", CONTEXTS, ids=name_of)
def test_each_route_declares_who_may_call_it(context: RouteContext) -> None:
    route = context.original_route
    assert isinstance(route, APIRoute)
    assert ACCESS & calls_in(route.dependant), "neither authenticated nor open to anyone on purpose"


@pytest.mark.parametrize("context", CONTEXTS, ids=name_of)
def test_each_route_is_strict_about_bodies_and_queries(context: RouteContext) -> None:
    assert isinstance(context.original_route, StrictRoute)


@pytest.mark.parametrize("context", CONTEXTS, ids=name_of)
def test_each_session_ends_before_the_answer(context: RouteContext) -> None:
    assert isinstance(context.original_route, APIRoute)
    late = [
        dependency.call
        for dependency in tree_of(context.original_route.dependant)
        if isasyncgenfunction(dependency.call) and dependency.scope != "function"
    ]
    assert late == [], "with the default scope, COMMIT runs after the client has its answer"


def test_only_these_routes_are_open_to_anyone() -> None:
    public = {
        name_of(context)
        for context in CONTEXTS
        if isinstance(context.original_route, APIRoute)
        and dependencies.allow_anyone in calls_in(context.original_route.dependant)
    }
    assert public == {
        f"POST {API}/users",
        f"POST {API}/token",
        f"POST {API}/token/refresh",
        f"POST {API}/token/revoke",
    }


def test_no_two_routes_take_the_same_request() -> None:
    seen = Counter((context.path, method) for context in CONTEXTS for method in context.methods or ())
    assert [pair for pair, count in seen.items() if count > 1] == []


def test_operation_ids_are_unique() -> None:
    ids = Counter(operation["operationId"] for item in OPENAPI["paths"].values() for operation in item.values())
    assert [name for name, count in ids.items() if count > 1] == []
    assert len(ids) == len(OPERATIONS)


def test_frameworks_own_error_models_are_nowhere() -> None:
    assert "HTTPValidationError" not in OPENAPI["components"]["schemas"]
    assert "ValidationError" not in OPENAPI["components"]["schemas"]
    assert not [reference for reference in references_in(OPENAPI) if "ValidationError" in reference]


def test_every_reference_leads_somewhere() -> None:
    for reference in references_in(OPENAPI):
        target: Any = OPENAPI
        for step in reference.removeprefix("#/").split("/"):
            assert step in target, reference
            target = target[step]


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
class TestOperation:
    """What the OpenAPI document says about one operation."""

    def test_errors_are_problem_documents(self, path: str, method: str, operation: dict[str, Any]) -> None:
        for status, response in operation["responses"].items():
            if status >= "400":
                assert list(response["content"]) == ["application/problem+json"], status
                schema = response["content"]["application/problem+json"]["schema"]
                name = schema["$ref"].rpartition("/")[2]
                found = OPENAPI["components"]["schemas"][name]
                assert found["allOf"][0] == {"$ref": "#/components/schemas/Problem"}
                codes = found["allOf"][1]["properties"]["code"]["enum"]
                assert codes == [kind.code for kind in PROBLEM_KINDS.values() if kind.status == int(status)]

    def test_the_refusals_it_can_give_are_documented(self, path: str, method: str, operation: dict[str, Any]) -> None:
        documented = set(operation["responses"])
        if path.startswith(API):
            assert {"422", "503"} <= documented
        if operation.get("security"):
            assert "401" in documented
        if "requestBody" in operation:
            assert documented >= BODY_STATUSES
        if "{" in path and path.startswith(API):
            assert "404" in documented

    def test_success_is_documented_with_a_model(self, path: str, method: str, operation: dict[str, Any]) -> None:
        successes = [status for status in operation["responses"] if status < "300"]
        assert len(successes) == 1
        response = operation["responses"][successes[0]]
        if successes == ["204"]:
            assert "content" not in response
        else:
            ((media_type, content),) = response["content"].items()
            assert media_type in {"application/json", "text/event-stream"}
            if media_type == "application/json":
                assert "$ref" in content["schema"]
            if method == "post" and successes == ["201"]:
                assert "requestBody" in operation

    def test_it_is_summarised_and_tagged(self, path: str, method: str, operation: dict[str, Any]) -> None:
        assert operation["summary"]
        assert operation["description"].endswith(".")
        assert len(operation["tags"]) == 1

    def test_only_open_routes_need_no_credential(self, path: str, method: str, operation: dict[str, Any]) -> None:
        accounts = path.startswith(f"{API}/token") or (method, path) == ("post", f"{API}/users")
        public = not path.startswith(API) or accounts
        assert bool(operation.get("security")) is not public


def test_bodies_refuse_unknown_fields_and_name_no_defaults_they_do_not_have() -> None:
    for item in OPENAPI["paths"].values():
        for operation in item.values():
            for content in operation.get("requestBody", {}).get("content", {}).items():
                media_type, described = content
                if media_type == "application/json":
                    for reference in references_in(described["schema"]):
                        schema = OPENAPI["components"]["schemas"][reference.rpartition("/")[2]]
                        is_closed = schema.get("additionalProperties") is False
                        assert is_closed or "enum" in schema or set(schema) >= {"oneOf"}, reference


async def test_the_document_is_served_without_a_credential(client: Any) -> None:
    response = await client.get("/openapi.json")
    assert response.status_code == 200
    assert response.json()["paths"].keys() == OPENAPI["paths"].keys()
