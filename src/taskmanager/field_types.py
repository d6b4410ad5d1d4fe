"""Types of single fields, shared by the schemas of every feature."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

from taskmanager.written_text import read_line, read_text, read_visible_text

# The largest integer that JavaScript, and so JSON Schema, represents exactly; bigint holds more.
MAXIMUM_ID = 2**53 - 1
# For the API's description; `written_text` says what is wrong in words.
_NO_CONTROLS = r"^[^\u0000-\u0008\u000B\u000C\u000E-\u001F\u007F-\u009F]*$"
_NO_CONTROLS_OR_BREAKS = r"^[^\u0000-\u001F\u007F-\u009F\u2028\u2029]*$"
_FIRST_MOMENT = datetime.min.replace(tzinfo=UTC)
_LAST_MOMENT = datetime.max.replace(tzinfo=UTC)
_DIGITS = re.compile(r"[0-9]{1,19}", re.ASCII)
# An offset of a query whose + was not encoded, and so arrives as a space.
_SPACED_OFFSET = re.compile(r"([T ]\d{2}:\d{2}[^ ]*) (\d{2}:?\d{2})$", re.ASCII | re.IGNORECASE)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_DATE_AND_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]", re.ASCII | re.IGNORECASE)


def format_timestamp(moment: datetime) -> str:
    """Return a moment as every answer writes it: UTC, `YYYY-MM-DDTHH:MM:SS.ffffffZ`."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return f"{moment.isoformat(timespec='microseconds')[:-6]}Z"


def _require_date_and_time(value: Any) -> Any:
    # pydantic would also take seconds since 1970, as a number or as digits.
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not _DATE_AND_TIME.match(value):
        raise ValueError("must be a date and time with an offset, like 2026-01-31T12:00:00Z")
    return value


def _require_day(value: Any) -> Any:
    # pydantic would also take a time at midnight, and seconds since 1970.
    if (isinstance(value, str) and not _DAY.fullmatch(value)) or isinstance(value, int | float):
        raise ValueError("must be a day, like 2026-01-31")
    return value


def _require_finite_day(day: date) -> date:
    # The driver reads the first and the last day as -infinity and infinity.
    if not date.min < day < date.max:
        raise ValueError("is out of range")
    return day


def _restore_plus(value: Any) -> Any:
    return _SPACED_OFFSET.sub(r"\1+\2", value) if isinstance(value, str) else value


def _to_utc(moment: datetime) -> datetime:
    try:
        in_utc = moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range once in UTC") from None
    # The driver reads the first and the last moment as -infinity and infinity.
    if not _FIRST_MOMENT < in_utc < _LAST_MOMENT:
        raise ValueError("is out of range")
    return in_utc


def _digits_only(value: Any) -> Any:
    # int() would also take "1_0", " 1", "+1" and digits of other scripts.
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise ValueError("must be digits")
    return value


Timestamp = Annotated[
    datetime,
    PlainSerializer(format_timestamp, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-31T12:00:00.000000Z"]}),
]
"""A moment in an answer."""

Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_require_date_and_time),
    AfterValidator(_to_utc),
    PlainSerializer(format_timestamp, return_type=str, when_used="json"),
]
"""A moment in a request: with an offset, kept in UTC."""

Day = Annotated[date, BeforeValidator(_require_day), AfterValidator(_require_finite_day)]
"""A day on the calendar in a request, in no time zone."""

WrittenMoment = Annotated[Moment, BeforeValidator(_restore_plus)]
"""A moment written in a query, where the + of an offset need not be encoded."""

# Comes last in an annotation: bounds that stand behind it would be missing in the API's schema.
DIGITS = BeforeValidator(_digits_only)
"""Lets a number in a path or query be plain digits only."""

WrittenId = Annotated[int, Field(ge=1, le=MAXIMUM_ID, json_schema_extra={"format": "int64"}), DIGITS]
"""An id written in a path or query."""

Id = Annotated[int, Field(strict=True, ge=1, le=MAXIMUM_ID, json_schema_extra={"format": "int64"})]
"""An id in a JSON body."""


@dataclass(frozen=True)
class Line:
    """One line of text that shows something: trimmed and in form C before its characters are counted."""

    longest: int

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema of a string whose bounds the API's description shows."""
        return _text_schema(read_line, min_length=1, max_length=self.longest, pattern=_NO_CONTROLS_OR_BREAKS)


@dataclass(frozen=True)
class FreeText:
    """Any number of lines, in form C before its characters are counted; `visible` text is trimmed and not blank."""

    longest: int
    visible: bool = False

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema of a string whose bounds the API's description shows."""
        if self.visible:
            return _text_schema(read_visible_text, min_length=1, max_length=self.longest, pattern=_NO_CONTROLS)
        return _text_schema(read_text, max_length=self.longest, pattern=_NO_CONTROLS)


def _text_schema(read: Callable[[str], str], **bounds: Any) -> CoreSchema:
    def read_if_text(value: Any) -> Any:
        return read(value) if isinstance(value, str) else value

    return core_schema.no_info_before_validator_function(read_if_text, core_schema.str_schema(**bounds))


UNCHANGED: Any = Field(default_factory=lambda: None)
"""Default of a field that may be left out but not be null: never read, and absent from the API's schema."""


INCLUDED: Any = Field(default_factory=lambda: None, exclude_if=lambda value: value is None)
"""Default of a field of an answer that is absent unless the request asks for it."""


def exactly_one_of(**titles: str) -> Callable[[dict[str, Any]], None]:
    """Return what describes a body with exactly one of some fields as alternatives, each with a title of its own."""

    def describe(schema: dict[str, Any]) -> None:
        properties, required = schema.pop("properties"), schema.pop("required", [])
        shared = {name: part for name, part in properties.items() if name not in titles}
        alternative = {key: schema.pop(key) for key in ("type", "additionalProperties") if key in schema}
        schema["oneOf"] = [
            {
                **alternative,
                "title": title,
                "description": schema["description"],
                "properties": {name: _without_null(properties[name]), **shared},
                "required": [name, *required],
            }
            for name, title in titles.items()
        ]

    return describe


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in schema.items() if key not in {"anyOf", "default"}}
    return {**next(one for one in schema.get("anyOf", ({},)) if one != {"type": "null"}), **kept}


class RequestModel(BaseModel):
    """A JSON body or a query: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ResponseModel(BaseModel):
    """An answer; what has a default is always sent too."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)
