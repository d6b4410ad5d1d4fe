"""The strict reader of JSON bodies."""

import json
from collections.abc import Collection
from typing import Any, Final, NoReturn

from taskmanager.errors import MalformedBodyError

JSON: Final = "application/json"
# RFC 7396: null clears a field, and what is left out stays. So does every PATCH here.
MERGE_PATCH: Final = "application/merge-patch+json"


def json_types(methods: Collection[str]) -> tuple[str, ...]:
    """Return the content types of JSON bodies that a route of these methods takes."""
    return (JSON, MERGE_PATCH) if "PATCH" in methods else (JSON,)


def is_one_of(types: Collection[str], content_type: bytes) -> bool:
    """Return whether a Content-Type is one of these; its parameters are ignored."""
    return content_type.partition(b";")[0].strip().lower().decode("latin-1") in types


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _refuse_repeated(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        raise ValueError("an object names a member more than once")
    return found


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_refuse_repeated, parse_constant=_refuse_constant)


def parse_json(body: bytes) -> Any:
    """Read a JSON document strictly: UTF-8 only, no NaN or Infinity, no name twice in an object (RFC 8259).

    Raises:
        MalformedBodyError: The bytes are not such a document, or nest too deeply to be read.
    """
    try:
        return _DECODER.decode(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise MalformedBodyError("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise MalformedBodyError(f"{error.msg} at line {error.lineno}, column {error.colno}") from None
    except ValueError as error:
        raise MalformedBodyError(str(error)) from None
    except RecursionError:
        raise MalformedBodyError("the document nests too deeply") from None
