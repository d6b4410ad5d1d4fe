"""Types of single fields, shared by the schemas of every feature."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

# The largest integer that JavaScript, and so JSON Schema, represents exactly; bigint holds more.
MAXIMUM_ID = 2**53 - 1
# PostgreSQL's text cannot hold NUL.
_NO_NUL = r"^[^\x00]*$"
_FIRST_MOMENT = datetime.min.replace(tzinfo=UTC)
_LAST_MOMENT = datetime.max.replace(tzinfo=UTC)
_DIGITS = re.compile(r"[0-9]{1,19}", re.ASCII)
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

# Comes last in an annotation: bounds that stand behind it would be missing in the API's schema.
DIGITS = BeforeValidator(_digits_only)
"""Lets a number in a path or query be plain digits only."""

WrittenId = Annotated[int, Field(ge=1, le=MAXIMUM_ID), DIGITS]
"""An id written in a path or query."""

Id = Annotated[int, Field(strict=True, ge=1, le=MAXIMUM_ID)]
"""An id in a JSON body."""

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, pattern=_NO_NUL)]
"""Trimmed text that is not blank."""

FreeText = Annotated[str, StringConstraints(pattern=_NO_NUL)]
"""Text kept as it is."""

UNCHANGED: Any = Field(default_factory=lambda: None)
"""Default of a field that may be left out but not be null: never read, and absent from the API's schema."""


class RequestModel(BaseModel):
    """A JSON body or a query: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ResponseModel(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True)
