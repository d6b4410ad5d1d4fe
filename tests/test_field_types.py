"""The types of single fields, as pure rules."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from taskmanager.field_types import (
    MAXIMUM_ID,
    UNCHANGED,
    FreeText,
    Id,
    Line,
    Moment,
    RequestModel,
    Timestamp,
    WrittenId,
    format_timestamp,
)


def accepts(kind: Any, value: Any) -> bool:
    """Tell whether a type takes a value."""
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (datetime(2026, 1, 31, 12, tzinfo=UTC), "2026-01-31T12:00:00.000000Z"),
        (datetime(2026, 1, 31, 12, 0, 0, 1, tzinfo=UTC), "2026-01-31T12:00:00.000001Z"),
        (datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=14))), "2026-01-30T22:00:00.000000Z"),
        (datetime(2026, 1, 31, 12, tzinfo=timezone(-timedelta(hours=12))), "2026-02-01T00:00:00.000000Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000000Z"),
        (datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_moments_are_written_in_utc_with_microseconds(moment: datetime, written: str) -> None:
    assert format_timestamp(moment) == written
    for kind in (Timestamp, Moment):
        assert TypeAdapter(kind).dump_json(moment) == f'"{written}"'.encode()


def test_what_is_written_can_be_read_back() -> None:
    moment = datetime(2026, 1, 31, 12, 0, 0, 123_456, tzinfo=UTC)
    assert TypeAdapter(Moment).validate_python(format_timestamp(moment)) == moment


@pytest.mark.parametrize("text", ["2026-01-31T12:00:00Z", "2026-01-31 12:00:00+01:00", "2026-01-31t12:00:00z"])
def test_a_moment_has_a_date_a_time_and_an_offset(text: str) -> None:
    moment = TypeAdapter(Moment).validate_python(text)
    assert moment.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-31T12:00:00",
        "2026-01-31",
        "1769860800",
        1_769_860_800,
        1.5,
        None,
        True,
        b"2026-01-31T12:00:00Z",
        datetime(2026, 1, 31),  # noqa: DTZ001
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
    ],
    ids=repr,
)
def test_anything_else_is_no_moment(value: Any) -> None:
    assert not accepts(Moment, value)


@pytest.mark.parametrize("written", ["1", "10", "007", str(MAXIMUM_ID)])
def test_plain_digits_are_an_id(written: str) -> None:
    assert TypeAdapter(WrittenId).validate_python(written) == int(written)


@pytest.mark.parametrize(
    "written", ["", " 1", "1 ", "+1", "-1", "1_0", "1.0", "1e3", "0x1", "\u0661", "\u00b2", "1\n", "1" * 20, "one"]
)
def test_nothing_else_is_an_id(written: str) -> None:
    assert not accepts(WrittenId, written)


@pytest.mark.parametrize("kind", [Id, WrittenId])
def test_ids_go_from_one_to_the_widest(kind: Any) -> None:
    as_given = str if kind is WrittenId else int
    assert accepts(kind, as_given(1))
    assert accepts(kind, as_given(MAXIMUM_ID))
    assert not accepts(kind, as_given(0))
    assert not accepts(kind, as_given(MAXIMUM_ID + 1))
    assert not accepts(kind, as_given(-1))


@pytest.mark.parametrize("value", ["1", 1.0, True, None], ids=repr)
def test_ids_in_a_body_are_numbers(value: Any) -> None:
    assert not accepts(Id, value)


@pytest.mark.parametrize(
    ("given", "kept"), [("a", "a"), (" a b \t\n", "a b"), ("\u00a0ä\u3000", "ä"), ("a\nb", "a\nb")]
)
def test_a_line_is_trimmed(given: str, kept: str) -> None:
    assert TypeAdapter(Line).validate_python(given) == kept


@pytest.mark.parametrize("value", ["", " ", "\t\r\n", "\u00a0\u2003", "a\x00b", "\x00", "\ud800", None, 1], ids=repr)
def test_a_line_is_not_blank_and_can_be_stored(value: Any) -> None:
    assert not accepts(Line, value)


@pytest.mark.parametrize("text", ["", " ", " a \n", "\u200b", "😀"])
def test_free_text_is_kept_as_it_is(text: str) -> None:
    assert TypeAdapter(FreeText).validate_python(text) == text


@pytest.mark.parametrize("value", ["a\x00b", "a\n\x00", "\udfff", None, 1], ids=repr)
def test_free_text_can_be_stored(value: Any) -> None:
    assert not accepts(FreeText, value)


class Example(RequestModel):
    """A request with a field that may be left out but not be null."""

    name: Line = UNCHANGED
    note: FreeText | None = None


def test_absent_and_null_differ() -> None:
    assert Example.model_validate({}).model_dump(exclude_unset=True) == {}
    assert Example.model_validate({"note": None}).model_dump(exclude_unset=True) == {"note": None}
    assert Example.model_validate({"name": "a"}).model_dump(exclude_unset=True) == {"name": "a"}
    assert not accepts(Example, {"name": None})


def test_a_field_that_may_be_left_out_is_told_without_a_default() -> None:
    schema = Example.model_json_schema()
    assert "required" not in schema
    assert "default" not in schema["properties"]["name"]
    assert schema["properties"]["name"]["type"] == "string"


def test_requests_refuse_what_they_do_not_know() -> None:
    assert not accepts(Example, {"unknown": 1})
    assert accepts(BaseModel, {"unknown": 1})
    assert Example.model_json_schema()["additionalProperties"] is False
