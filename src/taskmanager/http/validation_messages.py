"""What people read about a value that was refused, and its limits for programs.

The validator's own messages speak of strings and inputs; these say what to do.
"""

from collections.abc import Mapping
from typing import Any, Final

_LIMITS: Final = ("min_length", "max_length", "ge", "gt", "le", "lt", "pattern")
# By the validator's name of the error; names in braces are those of its limits.
_MESSAGES: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "string_type": "must be text",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "may have at most {max_length} characters",
    "string_pattern_mismatch": "has another form than {pattern}",
    "too_short": "must have at least {min_length} elements",
    "too_long": "may have at most {max_length} elements",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "greater_than_equal": "must be {ge} or more",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be {le} or less",
    "less_than": "must be less than {lt}",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "timezone_aware": "must have an offset, like 2026-01-31T12:00:00Z",
}


def message_of(error: Mapping[str, Any]) -> str:
    """Return what is wrong with a value, to be read behind the name of its field."""
    try:
        message = _MESSAGES[error["type"]].format_map(error.get("ctx", {}))
    except KeyError:
        return str(error["msg"]).removeprefix("Value error, ")
    return message.replace(" 1 characters", " 1 character").replace(" 1 elements", " 1 element")


def limits_of(error: Mapping[str, Any]) -> dict[str, Any]:
    """Return the limits that a value did not keep, such as `{"max_length": 200}`; never what was sent."""
    context = error.get("ctx", {})
    return {name: context[name] for name in _LIMITS if isinstance(context.get(name), str | int | float)}
