"""Brings the schemas of the API's description into the form that generators of clients understand best."""

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Final

from taskmanager.documentation.names import meaning_of

Schema = dict[str, Any]
_REF: Final = "#/components/schemas/"
_PARTS: Final = ("items", "additionalProperties")
_LISTS: Final = ("anyOf", "oneOf", "allOf")


def tidy_schemas(document: Schema) -> None:
    """Name alternatives, and give every property a description, ids their format and bounds whole numbers."""
    schemas = document["components"]["schemas"]
    for item in document["paths"].values():
        for operation in item.values():
            _name_body(operation.get("requestBody", {}), schemas)
    for name in list(schemas):
        _name_alternatives(schemas[name], schemas)
    for schema in list(schemas.values()):
        for one in nested(schema):
            tidy(one)
            for name, part in one.get("properties", {}).items():
                describe(name, part, one)
                if one.get("additionalProperties") is False:
                    _say_default(part)


def nested(schema: Schema) -> Iterator[Schema]:
    """Yield a schema and all schemas in it."""
    yield schema
    parts = [schema[key] for key in _PARTS if isinstance(schema.get(key), dict)]
    parts += schema.get("properties", {}).values()
    parts += [part for key in _LISTS for part in schema.get(key, ())]
    for part in parts:
        yield from nested(part)


def tidy(schema: Schema) -> None:
    """Bring one schema into form; the title of a property only repeats its name."""
    for part in schema.get("properties", {}).values():
        part.pop("title", None)
    for bound in ("minimum", "maximum"):
        if isinstance(value := schema.get(bound), float) and value.is_integer():
            schema[bound] = int(value)


def describe(name: str, schema: Schema, owner: Schema) -> None:
    """Give a property or parameter the description of its name, and the format of ids if it is one."""
    if "description" not in schema:
        if meaning := meaning_of(name):
            schema["description"] = meaning.description
        elif schema.get("type") == "array" and "next_cursor" in owner.get("properties", {}):
            schema["description"] = "The elements of this page."
    if name == "id" or name.endswith(("_id", "_by")) or name == "ids":
        for one in nested(schema):
            if one.get("type") == "integer":
                one["format"] = "int64"


def resolve(schema: Schema, document: Schema) -> Schema:
    """Return the schema that a reference leads to, or the schema itself."""
    if "$ref" in schema:
        found: Schema = document["components"]["schemas"][schema["$ref"].removeprefix(_REF)]
        return found
    return schema


def reference(name: str) -> Schema:
    """Return the reference to a schema of that name."""
    return {"$ref": _REF + name}


def _say_default(part: Schema) -> None:
    """Say in words what a field of a request is if it is left out: to some generators, a default makes it required."""
    value = part.pop("default", None)
    if value not in (None, ""):
        part["description"] = f"{part.get('description', '')} If left out: `{json.dumps(value)}`."


def _name_body(body: Schema, schemas: Schema) -> None:
    for content in body.get("content", {}).values():
        if "title" in (schema := content["schema"]) and "$ref" not in schema:
            schemas[schema["title"]] = deepcopy(schema)
            content["schema"] = reference(schema["title"])


def _name_alternatives(schema: Schema, schemas: Schema) -> None:
    for one in list(nested(schema)):
        for place, part in enumerate(one.get("oneOf", ())):
            if part.get("type") == "object" and "title" in part:
                schemas[part["title"]] = part
                one["oneOf"][place] = reference(part["title"])
