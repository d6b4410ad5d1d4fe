"""Types what clients follow: changes and events by the kind of thing that they are about, as features declare it."""

from collections.abc import Sequence
from typing import Final

from taskmanager.documentation.schemas import Schema, reference
from taskmanager.events.followed import FollowedEntity

_OTHERS: Final = "There may be other kinds later, which a client ignores."


def type_followed_things(document: Schema, entities: Sequence[FollowedEntity]) -> None:
    """Replace the schemas of changes and events by one for each kind of thing, with `entity` as the discriminator."""
    schemas = document["components"]["schemas"]
    if "ChangeItem" in schemas:
        _split(schemas, "ChangeItem", {entity.name: _change(schemas["ChangeItem"], entity) for entity in entities})
    if "EventRead" in schemas:
        _split(schemas, "EventRead", {entity.name: _event(schemas, entity) for entity in entities})


def _split(schemas: Schema, name: str, kinds: dict[str, Schema]) -> None:
    suffix = "Change" if name == "ChangeItem" else "Event"
    names = {entity: f"{entity.title().replace('_', '')}{suffix}" for entity in kinds}
    schemas |= {names[entity]: schema for entity, schema in kinds.items()}
    schemas[name] = {
        "description": f"{schemas[name]['description']}\n\n{_OTHERS}",
        "oneOf": [reference(one) for one in names.values()],
        "discriminator": {
            "propertyName": "entity",
            "mapping": {entity: reference(one)["$ref"] for entity, one in names.items()},
        },
    }


def _of_kind(schema: Schema, entity: FollowedEntity, description: str) -> Schema:
    kind = {"type": "string", "const": entity.name, "description": "The kind of thing."}
    return {
        **schema,
        "description": description,
        "properties": {**schema["properties"], "entity": kind},
        "required": sorted({*schema["required"], "entity"}),
    }


def _change(item: Schema, entity: FollowedEntity) -> Schema:
    found = _of_kind(item, entity, f"A {entity.name} as it is now, or that it is gone.")
    found.pop("title", None)
    found.pop("additionalProperties", None)
    reason = found["properties"]["reason"]
    found["properties"] |= {
        "reason": {**next(one for one in reason["anyOf"] if "$ref" in one), "description": reason["description"]},
        entity.name: {**reference(entity.schema.__name__), "description": "As GET answers it; absent if it is gone."},
    }
    found["required"] = [name for name in found["required"] if name != "reason"]
    return found


def _event(schemas: Schema, entity: FollowedEntity) -> Schema:
    found = _of_kind(schemas["EventRead"], entity, f"One change of a {entity.name}.")
    found.pop("title", None)
    return found
