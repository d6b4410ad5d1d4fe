"""The strict reader of JSON bodies."""

import json
from typing import Any, Final, NoReturn

from taskmanager.errors import MalformedBodyError

JSON = "application/json"


def is_json(content_type: bytes) -> bool:
    """Return whether a Content-Type is that of JSON; its parameters are ignored."""
    return content_type.partition(b";")[0].strip().lower() == JSON.encode()


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
