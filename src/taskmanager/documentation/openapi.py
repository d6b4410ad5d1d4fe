"""Completes the API's description by what FastAPI does not know of it."""

from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from taskmanager.http.json_bodies import JSON, MERGE_PATCH
from taskmanager.http.pagination import PAGING_PARAMETERS
from taskmanager.http.problems import problem_schemas

_CONDITIONS: Final = frozenset({"If-Match", "If-None-Match"})


def complete_openapi(app: FastAPI) -> None:
    """Have an application describe its errors, the ETags of its answers and all content types of its bodies."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            schema["components"]["schemas"].update(problem_schemas())
            for path in schema["paths"].values():
                _describe_merge_patch(path)
                for operation in path.values():
                    _describe_etag(operation)
                    _describe_filters(operation)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the schema


def _describe_merge_patch(path: dict[str, Any]) -> None:
    if "patch" in path:
        content = path["patch"]["requestBody"]["content"]
        content[MERGE_PATCH] = content[JSON]


def _describe_filters(operation: dict[str, Any]) -> None:
    query = [parameter for parameter in operation.get("parameters", ()) if parameter["in"] == "query"]
    if any(parameter["name"] == "limit" for parameter in query):
        for parameter in query:
            if parameter["name"] not in PAGING_PARAMETERS:
                parameter["allowEmptyValue"] = True


def _describe_etag(operation: dict[str, Any]) -> None:
    if _CONDITIONS.isdisjoint(parameter["name"] for parameter in operation.get("parameters", ())):
        return
    for status, response in operation["responses"].items():
        if status in {"200", "304", "412"}:
            etag = {"description": "The version that is there", "schema": {"type": "string"}}
            response.setdefault("headers", {})["ETag"] = etag
