"""Samples of requests and answers, made of the schemas and of what names mean everywhere.

What a sample of a request names is there in the demo database, or made by the samples before it.
"""

from typing import Any, Final

from taskmanager.documentation.names import meaning_of
from taskmanager.documentation.problem_schemas import problem_example
from taskmanager.documentation.schemas import Schema, resolve

_BY_TYPE: Final[dict[str, Any]] = {"string": "text", "integer": 1, "number": 1, "boolean": False, "object": {}}
_BY_FORMAT: Final = {"date-time": "2026-01-31T12:00:00.000000Z", "email": "ada@example.com", "uri-reference": "/docs"}
_PROBLEM: Final = "application/problem+json"


def add_examples(document: Schema) -> None:
    """Give every body, every answer and every parameter that is required a sample."""
    found = document["components"].setdefault("examples", {})
    for item in document["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                if parameter["required"]:
                    parameter["example"] = example_of(parameter["schema"], document, name=parameter["name"])
            _add_to(operation.get("requestBody", {}), document, found, is_sent=True)
            for status, answer in operation["responses"].items():
                if _PROBLEM in answer.get("content", {}):
                    name = answer["content"][_PROBLEM]["schema"]["$ref"].rpartition("/")[2]
                    found.setdefault(name, {"value": problem_example(int(status))})
                    answer["content"][_PROBLEM]["examples"] = _named(name)
                else:
                    _add_to(answer, document, found, is_sent=False)


def example_of(schema: Schema, document: Schema, *, name: str = "", is_sent: bool = False) -> Any:
    """Return a sample of a schema that a property `name` has; of what is sent without ids that may be left out."""
    if given := _given(schema, document, name):
        return given[0]
    return _of_type(resolve(schema, document), document, is_sent=is_sent)


def _given(schema: Schema, document: Schema, name: str) -> list[Any]:
    if examples := schema.get("examples") or resolve(schema, document).get("examples"):
        return [examples[0]]
    known = meaning_of(name)
    if known is not None and (known.example is not None or _shows_null(schema)):
        return [known.example]
    return [schema["default"]] if "default" in schema else []


def _of_type(schema: Schema, document: Schema, *, is_sent: bool) -> Any:
    if alternatives := schema.get("oneOf") or schema.get("anyOf"):
        return example_of(alternatives[0], document, is_sent=is_sent)
    if "const" in schema or "enum" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    if schema.get("type") == "array":
        return [example_of(schema["items"], document, is_sent=is_sent)]
    if "properties" in schema:
        return _object(schema, document, is_sent=is_sent)
    return _BY_FORMAT.get(schema.get("format", ""), _BY_TYPE.get(schema.get("type", "")))


def _object(schema: Schema, document: Schema, *, is_sent: bool) -> dict[str, Any]:
    required = schema.get("required", ())
    return {
        name: example_of(part, document, name=name, is_sent=is_sent)
        for name, part in schema["properties"].items()
        if name in required or (is_sent and _is_worth_showing(name))
    }


def _is_worth_showing(name: str) -> bool:
    known = meaning_of(name)
    return known is not None and known.example is not None and not name.endswith("_id")


def _shows_null(schema: Schema) -> bool:
    kinds = schema.get("anyOf", ())
    return {"type": "null"} in kinds and not any("$ref" in kind for kind in kinds)


def _add_to(holder: Schema, document: Schema, found: Schema, *, is_sent: bool) -> None:
    for content in holder.get("content", {}).values():
        if "$ref" in content.get("schema", {}):
            name = content["schema"]["$ref"].rpartition("/")[2]
            found.setdefault(name, {"value": example_of(content["schema"], document, is_sent=is_sent)})
            content["examples"] = _named(name)


def _named(name: str) -> Schema:
    return {"sample": {"$ref": f"#/components/examples/{name}"}}
