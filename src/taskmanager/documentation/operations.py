"""Completes what the API's description says of single operations: parameters, bodies and the headers of answers."""

from typing import Any, Final

from taskmanager.documentation.schemas import describe, nested, resolve, tidy
from taskmanager.http.json_bodies import JSON, MERGE_PATCH
from taskmanager.http.pagination import PAGING_PARAMETERS

_CONDITIONS: Final = frozenset({"If-Match", "If-None-Match"})
_TEXT: Final = {"type": "string"}
_LIMITED: Final = frozenset({"304", "403", "404", "409", "410", "412", "422", "428", "429"})
HEADERS: Final[dict[str, dict[str, Any]]] = {
    "ETag": {
        "description": "The version that is there, for If-Match and If-None-Match.",
        "schema": _TEXT,
        "example": '"3"',
    },
    "Location": {"description": "The path of what was made.", "schema": {"type": "string", "format": "uri-reference"}},
    "Link": {"description": 'The next page, as `<?...>; rel="next"`; absent on the last one.', "schema": _TEXT},
    "Idempotency-Replayed": {
        "description": "`true` if the answer is the kept one of an earlier request with this Idempotency-Key.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "RateLimit": {
        "description": "Requests left in this window, and seconds until it ends; absent where nothing is limited.",
        "schema": _TEXT,
        "example": '"user";r=599;t=60',
    },
    "RateLimit-Policy": {
        "description": "Requests in a window, and its length in seconds; absent where nothing is limited.",
        "schema": _TEXT,
        "example": '"user";q=600;w=60',
    },
    "Retry-After": {"description": "Seconds to wait before the next try.", "schema": {"type": "integer"}},
    "WWW-Authenticate": {"description": "How to authenticate: `Bearer`.", "schema": _TEXT},
    "X-Request-ID": {"description": "Names the request in the service's log.", "schema": _TEXT},
}


def describe_operations(document: dict[str, Any]) -> None:
    """Complete all operations of a description."""
    document["components"]["headers"] = HEADERS
    with_conditions = [path for path, item in document["paths"].items() if _takes_conditions(item)]
    for path, item in document["paths"].items():
        one_below = [other for other in with_conditions if other.rpartition("/{")[0] == path]
        has_tag = path in with_conditions or bool(one_below)
        if "patch" in item:
            content = item["patch"]["requestBody"]["content"]
            content[MERGE_PATCH] = content[JSON]
        for operation in item.values():
            _describe_parameters(operation)
            _describe_answers(operation, document, has_tag=has_tag)


# Each `ListQuery`, whose empty filters count as not given, has one of these.
_OF_LIST_QUERIES: Final = frozenset({"limit", "include", "by"})


def _describe_parameters(operation: dict[str, Any]) -> None:
    parameters = operation.get("parameters", [])
    drops_empty = any(parameter["name"] in _OF_LIST_QUERIES for parameter in parameters)
    for parameter in parameters:
        schema = parameter["schema"] = _without_null(parameter["schema"])
        for one in nested(schema):
            tidy(one)
        schema.pop("title", None)
        if schema.get("default") == []:
            del schema["default"]
        describe(parameter["name"], schema, {})
        if (text := schema.pop("description", None)) is not None:
            parameter.setdefault("description", text)
        is_filter = parameter["in"] == "query" and parameter["name"] not in PAGING_PARAMETERS
        if drops_empty and is_filter and not parameter.get("required"):
            parameter["allowEmptyValue"] = True


def _takes_conditions(item: dict[str, Any]) -> bool:
    parameters = [parameter for operation in item.values() for parameter in operation.get("parameters", ())]
    return any(parameter["name"] in _CONDITIONS for parameter in parameters)


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter that may be left out, which is not the same as null."""
    kinds = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {**{key: value for key, value in schema.items() if key not in {"anyOf", "default"}}, **kinds[0]}


def _describe_answers(operation: dict[str, Any], document: dict[str, Any], *, has_tag: bool) -> None:
    given = {parameter["name"] for parameter in operation.get("parameters", ())}
    may_conflict = "Idempotency-Key" in given
    for status, answer in operation["responses"].items():
        names = {"X-Request-ID"}
        properties = _properties(answer, document)
        if status.startswith("2"):
            answer["description"] = _SUCCESS[status]
            names |= {"Idempotency-Replayed"} if may_conflict else set()
            names |= {"Link"} if "next_cursor" in properties else set()
            names |= {"ETag"} if "version" in properties and has_tag else set()
            names |= {"Location"} if status == "201" and not _WITH_PATHS.isdisjoint(properties) else set()
        elif status in {"304", "412"}:
            names.add("ETag")
        elif status == "401":
            names.add("WWW-Authenticate")
        elif status in {"429", "503"} or (status == "409" and may_conflict):
            names.add("Retry-After")
        if "401" in operation["responses"] or "429" in operation["responses"]:
            names |= {"RateLimit", "RateLimit-Policy"} if status.startswith("2") or status in _LIMITED else set()
        answer["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in sorted(names)}


# What has one of these fields has a path of its own.
_WITH_PATHS: Final = frozenset({"version", "secret_generation"})
_SUCCESS: Final = {
    "200": "As asked for",
    "201": "Made",
    "202": "Taken on; it is done soon",
    "204": "Done; there is nothing to show",
}


def _properties(answer: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    content = answer.get("content", {}).get(JSON, {})
    properties: dict[str, Any] = resolve(content.get("schema", {}), document).get("properties", {})
    return properties
