"""Which changes of the API's description would break a client that was written for the older one.

`python -m tests.support.openapi_compatibility` writes docs/openapi.json, and refuses to if that breaks clients.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from taskmanager.commands.openapi import describe, render

COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.json"
_METHODS = ("get", "put", "post", "patch", "delete")


def breaking_changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return what a client of the old description could trip over in the new one."""
    found: list[str] = []
    for path, old_item in old["paths"].items():
        for method in _METHODS:
            if method not in old_item:
                continue
            operation = f"{method.upper()} {path}"
            if method not in new["paths"].get(path, {}):
                found.append(f"{operation} is gone")
                continue
            found += _operation_changes(operation, old_item[method], new["paths"][path][method], old, new)
    return found


def _operation_changes(
    operation: str, before: dict[str, Any], after: dict[str, Any], old: dict[str, Any], new: dict[str, Any]
) -> Iterator[str]:
    old_parameters = {(p["in"], p["name"]): p for p in before.get("parameters", [])}
    new_parameters = {(p["in"], p["name"]): p for p in after.get("parameters", [])}
    for place, name in old_parameters:
        if (place, name) not in new_parameters:
            yield f"{operation} no longer takes {name} in the {place}"
    for key, parameter in new_parameters.items():
        if parameter.get("required") and not old_parameters.get(key, {}).get("required"):
            yield f"{operation} demands {key[1]} in the {key[0]}"
    yield from _request_changes(f"{operation} body", _body(before), _body(after), old, new)
    for status, response in before.get("responses", {}).items():
        if not status.startswith("2"):
            continue
        if status not in after.get("responses", {}):
            yield f"{operation} no longer answers {status}"
            continue
        answer, answer_now = (_json_schema(r) for r in (response, after["responses"][status]))
        yield from _response_changes(f"{operation} answer", answer, answer_now, old, new)


def _body(operation: dict[str, Any]) -> dict[str, Any]:
    return _json_schema(operation.get("requestBody", {}))


def _json_schema(holder: dict[str, Any]) -> dict[str, Any]:
    content = holder.get("content", {})
    schema: dict[str, Any] = next((c.get("schema", {}) for name, c in content.items() if "json" in name), {})
    return schema


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        resolved: dict[str, Any] = document["components"]["schemas"][name]
        return resolved
    return schema


def _request_changes(
    where: str, before: dict[str, Any], after: dict[str, Any], old: dict[str, Any], new: dict[str, Any]
) -> Iterator[str]:
    before, after = _resolved(before, old), _resolved(after, new)
    for name in set(after.get("required", [])) - set(before.get("required", [])):
        yield f"{where} demands {name}"
    for gone in set(map(str, before.get("enum", []))) - set(map(str, after.get("enum", before.get("enum", [])))):
        yield f"{where} no longer takes {gone}"
    for name, schema in before.get("properties", {}).items():
        if name not in after.get("properties", {}):
            yield f"{where} no longer takes {name}"
        else:
            yield from _request_changes(f"{where}.{name}", schema, after["properties"][name], old, new)
    for bound, tighter in (("maxLength", int.__lt__), ("maximum", int.__lt__), ("maxItems", int.__lt__)):
        if bound in after and (bound not in before or tighter(int(after[bound]), int(before[bound]))):
            yield f"{where} has a tighter {bound}"
    if "items" in before and "items" in after:
        yield from _request_changes(f"{where}[]", before["items"], after["items"], old, new)


def _response_changes(
    where: str, before: dict[str, Any], after: dict[str, Any], old: dict[str, Any], new: dict[str, Any]
) -> Iterator[str]:
    before, after = _resolved(before, old), _resolved(after, new)
    if before.get("type") != after.get("type"):
        yield f"{where} has another type"
    for name, schema in before.get("properties", {}).items():
        if name not in after.get("properties", {}):
            yield f"{where} has no {name} any more"
        else:
            yield from _response_changes(f"{where}.{name}", schema, after["properties"][name], old, new)
    if "items" in before and "items" in after:
        yield from _response_changes(f"{where}[]", before["items"], after["items"], old, new)


def main() -> None:
    """Write the committed description."""
    current = describe()
    if COMMITTED.exists() and os.environ.get("ALLOW_BREAKING") != "1":
        broken = breaking_changes(json.loads(COMMITTED.read_text()), current)
        if broken:
            sys.exit("These changes break clients; set ALLOW_BREAKING=1 if that is meant:\n" + "\n".join(broken))
    COMMITTED.write_text(render(current))


if __name__ == "__main__":
    main()
