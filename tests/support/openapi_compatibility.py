"""Which changes of the API's description would break a client that was written for the older one.

`python -m tests.support.openapi_compatibility` writes docs/openapi.json, and refuses to if that breaks clients.

What a client sends may be taken more freely and never less; what it gets may say more and never less. So values of a
request may become more and values of an answer fewer; only an answer's open enumerations (`There may be others`) grow.
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
_OPEN = "There may be other"
_UPPER, _LOWER = ("maxLength", "maximum", "maxItems"), ("minLength", "minimum", "minItems")
_NULL = "null"


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
            found += _Comparison(old, new).operation(operation, old_item[method], new["paths"][path][method])
    return list(dict.fromkeys(found))


class _Comparison:
    """Compares schemas of two documents, also those that contain themselves."""

    def __init__(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        self._old = old
        self._new = new
        self._under_way: list[tuple[str | None, str | None]] = []

    def operation(self, name: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
        """Yield what has become worse of an operation."""
        yield from self._parameters(name, before, after)
        if "requestBody" not in before and after.get("requestBody", {}).get("required"):
            yield f"{name} demands a body"
        for media_type, content in before.get("requestBody", {}).get("content", {}).items():
            now = after.get("requestBody", {}).get("content", {}).get(media_type)
            if now is None:
                yield f"{name} no longer takes {media_type}"
            elif "json" in media_type:
                yield from self._request(f"{name} body", content.get("schema", {}), now.get("schema", {}))
        for status, response in before.get("responses", {}).items():
            if not status.startswith("2"):
                continue
            if status not in after.get("responses", {}):
                yield f"{name} no longer answers {status}"
                continue
            now = after["responses"][status]
            for header in response.get("headers", {}).keys() - now.get("headers", {}).keys():
                yield f"{name} answers without {header}"
            yield from self._response(f"{name} answer", _json_schema(response), _json_schema(now))

    def _parameters(self, name: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
        old_parameters = {(p["in"], p["name"]): p for p in before.get("parameters", [])}
        new_parameters = {(p["in"], p["name"]): p for p in after.get("parameters", [])}
        for place, parameter in old_parameters:
            if (place, parameter) not in new_parameters:
                yield f"{name} no longer takes {parameter} in the {place}"
        for key, parameter in new_parameters.items():
            if parameter.get("required") and not old_parameters.get(key, {}).get("required"):
                yield f"{name} demands {key[1]} in the {key[0]}"
            if key in old_parameters:
                yield from self._request(f"{name} {key[1]}", old_parameters[key]["schema"], parameter["schema"])

    def _request(self, where: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
        pair = before.get("$ref"), after.get("$ref")
        if pair[0] is not None and pair in self._under_way:
            return
        self._under_way.append(pair)
        yield from self._request_alternatives(where, before, after)
        self._under_way.pop()

    def _request_alternatives(self, where: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
        olds, news = _alternatives(before, self._old), _alternatives(after, self._new)
        if _allows_null(olds) and not _allows_null(news):
            yield f"{where} no longer takes null"
        olds, news = _without_null(olds), _without_null(news)
        for one in olds:
            worse = [list(self._request_object(where, one, other)) for other in news] or [[f"{where} is gone"]]
            yield from min(worse, key=len)

    def _request_object(self, where: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
        if _types(before) - _types(after) and _types(after):
            yield f"{where} has another type"
        for name in sorted(set(after.get("required", [])) - set(before.get("required", []))):
            yield f"{where} demands {name}"
        if (values := _values(after)) is not None:
            if (known := _values(before)) is None:
                yield f"{where} takes only some values"
            for gone in sorted((known or set()) - values):
                yield f"{where} no longer takes {gone}"
        for name, schema in before.get("properties", {}).items():
            if name not in after.get("properties", {}):
                yield f"{where} no longer takes {name}"
            else:
                yield from self._request(f"{where}.{name}", schema, after["properties"][name])
        for bound in (*_UPPER, *_LOWER):
            if bound in after and _is_tighter(bound, before.get(bound), after[bound]):
                yield f"{where} has a tighter {bound}"
        if "items" in before and "items" in after:
            yield from self._request(f"{where}[]", before["items"], after["items"])

    def _response(self, where: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
        pair = before.get("$ref"), after.get("$ref")
        if pair[0] is not None and pair in self._under_way:
            return
        self._under_way.append(pair)
        yield from self._response_alternatives(where, before, after)
        self._under_way.pop()

    def _response_alternatives(self, where: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
        olds, news = _alternatives(before, self._old), _alternatives(after, self._new)
        if _allows_null(news) and not _allows_null(olds) and any(olds):
            yield f"{where} may be null"
        olds, news = _without_null(olds), _without_null(news)
        for one in news:
            worse = [list(self._response_object(where, other, one)) for other in olds] or [[f"{where} is new"]]
            yield from min(worse, key=len)
        for one in olds:
            if not news:
                yield f"{where} has no {sorted(_types(one))} any more"

    def _response_object(self, where: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
        if _types(before) != _types(after):
            yield f"{where} has another type"
        if (known := _values(before)) is not None and _OPEN not in before.get("description", ""):
            if (values := _values(after)) is None:
                yield f"{where} may have any value"
            for new in sorted((values or set()) - known):
                yield f"{where} may be {new}"
        for name in sorted(set(before.get("required", [])) - set(after.get("required", []))):
            if name in after.get("properties", {}):
                yield f"{where} may be without {name}"
        for name, schema in before.get("properties", {}).items():
            if name not in after.get("properties", {}):
                yield f"{where} has no {name} any more"
            else:
                yield from self._response(f"{where}.{name}", schema, after["properties"][name])
        if "items" in before and "items" in after:
            yield from self._response(f"{where}[]", before["items"], after["items"])


def _json_schema(holder: dict[str, Any]) -> dict[str, Any]:
    content = holder.get("content", {})
    schema: dict[str, Any] = next((c.get("schema", {}) for name, c in content.items() if "json" in name), {})
    return schema


def _alternatives(schema: dict[str, Any], document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the schemas of which a value has one, references resolved and what stands beside them kept."""
    if "$ref" in schema:
        target = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        beside = {key: value for key, value in schema.items() if key not in {"$ref", "default", "description"}}
        return _alternatives({**target, **beside}, document)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return [found for one in schema[key] for found in _alternatives(one, document)]
    if isinstance(schema.get("type"), list):
        return [{**schema, "type": kind} for kind in schema["type"]]
    return [schema]


def _allows_null(alternatives: list[dict[str, Any]]) -> bool:
    return any(one.get("type") == _NULL for one in alternatives)


def _without_null(alternatives: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in alternatives if one.get("type") != _NULL]


def _types(schema: dict[str, Any]) -> set[str]:
    return {schema["type"]} if "type" in schema else set()


def _values(schema: dict[str, Any]) -> set[str] | None:
    if "const" in schema:
        return {str(schema["const"])}
    return set(map(str, schema["enum"])) if "enum" in schema else None


def _is_tighter(bound: str, before: float | None, after: float) -> bool:
    if before is None:
        return bound in _UPPER or after > 0
    return after < before if bound in _UPPER else after > before


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
