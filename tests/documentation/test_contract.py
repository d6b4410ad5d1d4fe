"""What machines need of the API's description: names, types and words for everything."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from taskmanager.commands.openapi import describe

DESCRIPTION = describe()
SCHEMAS: dict[str, Any] = DESCRIPTION["components"]["schemas"]
OPERATIONS = [
    (f"{method.upper()} {path}", operation)
    for path, item in DESCRIPTION["paths"].items()
    for method, operation in item.items()
]
PARAMETERS = [
    (f"{name}: {parameter['name']}", parameter)
    for name, operation in OPERATIONS
    for parameter in operation.get("parameters", ())
]


def properties() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (schema, name, property) of everything that has a name."""
    for name, schema in SCHEMAS.items():
        for part in [schema, *schema.get("allOf", ())]:
            for key, value in part.get("properties", {}).items():
                yield name, key, value


def parts_of(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a schema and the alternatives and elements in it."""
    yield schema
    for one in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *([schema["items"]] if "items" in schema else ())):
        yield from parts_of(one)


def test_everything_is_described() -> None:
    assert [name for name, parameter in PARAMETERS if not parameter.get("description")] == []
    assert [f"{owner}.{name}" for owner, name, value in properties() if not value.get("description")] == []
    assert [name for name, schema in SCHEMAS.items() if not schema.get("description") and name != "JsonValue"] == []


def test_what_may_be_left_out_is_not_null() -> None:
    for name, parameter in PARAMETERS:
        kinds = [part.get("type") for part in parts_of(parameter["schema"])]
        assert "null" not in kinds, name
        assert "default" not in parameter["schema"] or parameter["schema"]["default"] not in (None, []), name


def test_ids_are_of_64_bits() -> None:
    found = [(owner, name, value) for owner, name, value in properties()]
    found += [(name, parameter["name"], parameter["schema"]) for name, parameter in PARAMETERS]
    checked = 0
    for owner, name, schema in found:
        if name in {"id", "ids"} or name.endswith("_id"):
            for part in parts_of(schema):
                if part.get("type") == "integer":
                    assert part["format"] == "int64", (owner, name)
                    checked += 1
    assert checked > 40


def test_enumerations_have_names() -> None:
    of_problems = {"code", "errors"}
    found = [(owner, name, value) for owner, name, value in properties() if name not in of_problems]
    found += [(name, parameter["name"], parameter["schema"]) for name, parameter in PARAMETERS]
    assert [(owner, name) for owner, name, schema in found for part in parts_of(schema) if "enum" in part] == []


def test_nothing_is_named_by_the_framework() -> None:
    assert [name for name in SCHEMAS if name.startswith("Body_") or name.endswith(("-Input", "-Output"))] == []


def test_answers_without_content_have_no_type() -> None:
    for name, operation in OPERATIONS:
        assert "content" not in operation["responses"].get("204", {}), name


def test_what_is_always_sent_is_required() -> None:
    # `people` and `comment_count` where they are asked for.
    sent_now_and_then = {
        "reason",
        "people",
        "comment_count",
        *(name.removesuffix("Change").lower() for name in SCHEMAS),
    }
    for name in (name for name in SCHEMAS if name.endswith(("Read", "List", "Change", "Page", "Event"))):
        if "properties" in SCHEMAS[name]:
            left_out = SCHEMAS[name]["properties"].keys() - set(SCHEMAS[name]["required"])
            assert left_out <= sent_now_and_then, name


def test_bodies_of_one_thing_or_another_are_alternatives() -> None:
    for name in ("MemberCreate", "BulkUpdate", "TokenRequest"):
        alternatives = [SCHEMAS[one["$ref"].rpartition("/")[2]] for one in SCHEMAS[name]["oneOf"]]
        assert len(alternatives) == 2
        assert all(one["additionalProperties"] is False for one in alternatives)


@pytest.mark.parametrize("name", ["ChangeItem", "EventRead"])
def test_what_is_followed_is_told_apart_by_its_kind(name: str) -> None:
    schema = SCHEMAS[name]
    assert schema["discriminator"]["propertyName"] == "entity"
    assert {one["$ref"] for one in schema["oneOf"]} == set(schema["discriminator"]["mapping"].values())
    for entity, reference in schema["discriminator"]["mapping"].items():
        assert SCHEMAS[reference.rpartition("/")[2]]["properties"]["entity"]["const"] == entity


def test_credentials_are_said_for_every_operation() -> None:
    for name, operation in OPERATIONS:
        assert isinstance(operation["security"], list), name
        assert all(scopes == [] for demand in operation["security"] for key, scopes in demand.items() if key != "Login")
        for scope in operation.get("x-required-scopes", ()):
            assert f"`{scope}`" in operation["description"]
        if "/admin/" in name:
            assert operation["x-required-scopes"] == ["admin"]
            assert not [demand for demand in operation["security"] if "Login" in demand], name


def test_samples_of_problems_are_problems() -> None:
    for name, example in DESCRIPTION["components"]["examples"].items():
        whole = {"$ref": f"#/components/schemas/{name}", "components": DESCRIPTION["components"]}
        jsonschema_rs.validate(whole, example["value"])
