"""Schemas of problem documents: one for each status, with the codes that it has and what these add."""

from collections import defaultdict
from typing import Any, Final

from taskmanager.documentation.schemas import reference
from taskmanager.http.problem_kinds import PROBLEM_KINDS, PROBLEMS_PAGE, ProblemKind
from taskmanager.http.problem_statuses import STATUS_NAMES, schema_name

_MAY_GROW: Final = "There may be others later: treat an unknown one by its status."
_PROPERTIES: Final[dict[str, Any]] = {
    "type": {
        "type": "string",
        "format": "uri-reference",
        "description": "Leads people to what the kind of problem means and the way out.",
    },
    "code": {"$ref": "#/components/schemas/ProblemCode", "description": f"The kind, for programs. {_MAY_GROW}"},
    "title": {"type": "string", "description": "The status in words."},
    "status": {"type": "integer", "description": "The HTTP status."},
    "detail": {"type": "string", "description": "What happened, for people."},
    "instance": {"type": "string", "description": "The path that was asked for."},
    "request_id": {"type": "string", "description": "Names the request in the service's log."},
}
_OAUTH: Final[dict[str, Any]] = {
    "error": {"type": "string", "description": "Of the token route only: the code of RFC 6749, section 5.2."},
    "error_description": {"type": "string", "description": "Of the token route only: `detail`, by OAuth's name."},
}
_FIELD_ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "description": "One thing wrong with the request; what was sent is never repeated.",
    "properties": {
        "loc": {
            "type": "array",
            "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            "description": "Where: `body`, `query` or `path`, then names and indexes.",
        },
        "msg": {"type": "string", "description": "What is wrong, for people, to be read behind the field's name."},
        "type": {"type": "string", "description": "What is wrong, for programs, such as `string_too_long`."},
        "limits": {
            "type": "object",
            "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "number"}]},
            "description": "The limits that the value did not keep, such as `max_length`; absent if there are none.",
        },
    },
    "required": ["loc", "msg", "type"],
}
_OWNED_PROJECT: Final[dict[str, Any]] = {
    "type": "object",
    "description": "A project of which the account is the only owner.",
    "properties": {
        "id": {"type": "integer", "format": "int64", "description": "Id of the project."},
        "name": {"type": "string", "description": "Its name."},
    },
    "required": ["id", "name"],
}


def problem_schemas(statuses: set[int]) -> dict[str, Any]:
    """Return the component schemas of the problems that operations answer with one of these statuses."""
    kinds = defaultdict[int, list[ProblemKind]](list)
    for kind in PROBLEM_KINDS.values():
        kinds[kind.status].append(kind)
    found: dict[str, Any] = {
        "FieldError": _FIELD_ERROR,
        "OwnedProject": _OWNED_PROJECT,
        "ProblemCode": _codes(list(PROBLEM_KINDS), "Every kind of problem."),
        "Problem": {
            "type": "object",
            "description": "An error, as every 4xx and 5xx answers it (RFC 9457).",
            "properties": {**_PROPERTIES, **_OAUTH},
            "required": list(_PROPERTIES),
        },
    }
    for status in sorted(statuses):
        found[schema_name(status)] = _of_status(kinds[status])
    return found


def problem_example(status: int) -> dict[str, Any]:
    """Return a problem document of a status."""
    kind = [kind for kind in PROBLEM_KINDS.values() if kind.status == status][-1]
    example: dict[str, Any] = {
        "type": f"{PROBLEMS_PAGE}#{kind.code}",
        "code": kind.code,
        "title": STATUS_NAMES[status],
        "status": status,
        "detail": kind.meaning,
        "instance": "/api/v1/tasks/2",
        "request_id": "0b6f4c1e9d3a4f0c8d5e2a7b1c3f6e9d",
    }
    return example


def _of_status(kinds: list[ProblemKind]) -> dict[str, Any]:
    members: dict[str, Any] = {"code": _codes([kind.code for kind in kinds], "The kind, for programs.")}
    lines = []
    for kind in kinds:
        lines.append(f"- `{kind.code}`: {kind.meaning}")
        for name, schema in kind.members.items():
            about = f"Of `{kind.code}`: {schema['description']}"
            members[name] = {**schema, "description": about}
    return {
        "description": f"A problem of the status {kinds[0].status}:\n\n" + "\n".join(lines),
        "allOf": [reference("Problem"), {"type": "object", "properties": members}],
    }


def _codes(codes: list[str], description: str) -> dict[str, Any]:
    return {"type": "string", "enum": codes, "description": f"{description} {_MAY_GROW}"}
