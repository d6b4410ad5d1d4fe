"""Completes the API's description by what FastAPI does not know of it."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from taskmanager.documentation.examples import add_examples
from taskmanager.documentation.followed_things import type_followed_things
from taskmanager.documentation.operations import describe_operations
from taskmanager.documentation.overview import describe_api
from taskmanager.documentation.problem_schemas import problem_schemas
from taskmanager.documentation.schemas import tidy_schemas


def complete_openapi(app: FastAPI) -> None:
    """Have an application describe itself completely, as a document that clients can be generated from."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            describe_api(document)
            document["components"]["schemas"] |= problem_schemas(_refused_by(document))
            type_followed_things(document, [one for feature in app.state.features for one in feature.entities])
            tidy_schemas(document)
            describe_operations(document)
            add_examples(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the schema


def _refused_by(document: dict[str, Any]) -> set[int]:
    """Return all statuses of problems that some operation documents."""
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    return {int(status) for operation in operations for status in operation["responses"] if int(status) >= 400}
