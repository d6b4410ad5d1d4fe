"""The types of single fields, as pure rules."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any

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
    WrittenMoment,
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
    ("given", "kept"),
    [
        ("a", "a"),
        (" a b \t\r\n", "a b"),
        ("\u00a0\u00e4\u3000\u2028", "\u00e4"),
        ("a\u0308", "\u00e4"),
        (" " * 20 + "a\u0308" * 10 + " " * 20, "\u00e4" * 10),
        ("\u212b", "\u00c5"),
        ("\u1112\u1161\u11ab", "\ud55c"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("\u200ba\u200e", "\u200ba\u200e"),
        ("\u2764\ufe0f", "\u2764\ufe0f"),
    ],
)
def test_a_line_is_trimmed(given: str, kept: str) -> None:
    assert TypeAdapter(Annotated[str, Line(10)]).validate_python(given) == kept


BLANK = (
    *("", " ", "\t\r\n", "\u00a0\u2003", "\u200b", "\u200b \u200d", "\u200e", "\u202a\u202c", "\u2066\u2069", "\ufeff"),
    *("\u3164", "\uffa0", "\u115f\u1160", "\u2800", "\u2800\u2800", "\u00ad", "\u034f", "\u061c", "\u17b4", "\u180e"),
    *("\u2060", "\u2061", "\u206f", "\ufe0f", "\U000e0100", "\U000e0041", "\U0001d173", "\ufff9", "\u3000\u3164\u200b"),
)
CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]


@pytest.mark.parametrize("value", [*BLANK, "\ud800", None, 1], ids=ascii)
def test_a_line_is_not_blank_and_can_be_stored(value: Any) -> None:
    assert not accepts(Annotated[str, Line(100)], value)


@pytest.mark.parametrize("control", [*CONTROLS, "\u2028", "\u2029"], ids=ascii)
def test_a_line_has_no_controls_and_no_breaks(control: str) -> None:
    assert not accepts(Annotated[str, Line(100)], f"a{control}b")
    assert not accepts(Annotated[str, Line(100)], f"\u00e4{control}\u00e4")


@pytest.mark.parametrize("kind", [Line(100), FreeText(100)], ids=["line", "text"])
def test_the_message_names_the_control_and_its_place(kind: Any) -> None:
    with pytest.raises(ValidationError, match=r"has the control character U\+0007 at position 3: leave it out"):
        TypeAdapter(Annotated[str, kind]).validate_python("ab\x07c")


def test_lengths_are_counted_in_form_c() -> None:
    for kind in (Line(3), FreeText(3), FreeText(3, visible=True)):
        assert accepts(Annotated[str, kind], "a\u0308" * 3)
        assert not accepts(Annotated[str, kind], "a\u0308" * 3 + "b")
        # Which may be longer than what was sent.
        assert accepts(Annotated[str, kind], "\u0958")
        assert not accepts(Annotated[str, kind], "\u0958" * 2)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        *((same, same) for same in ("", " ", " a \n", "\u200b", "\U0001f600", "a\tb\n\tc", "\u2028")),
        ("a\r\nb\rc\n", "a\nb\nc\n"),
        ("e\u0301\r\n", "\u00e9\n"),
    ],
)
def test_free_text_is_kept_in_form_c_with_one_kind_of_line_end(text: str, kept: str) -> None:
    assert TypeAdapter(Annotated[str, FreeText(20)]).validate_python(text) == kept


@pytest.mark.parametrize("value", ["\udfff", None, 1], ids=ascii)
def test_free_text_can_be_stored(value: Any) -> None:
    assert not accepts(Annotated[str, FreeText(100)], value)


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_free_text_has_tabs_and_line_ends_but_no_other_control(control: str) -> None:
    for visible in (False, True):
        assert accepts(Annotated[str, FreeText(100, visible=visible)], f"a{control}b") is (control in "\t\n\r")


@pytest.mark.parametrize("value", BLANK, ids=ascii)
def test_visible_text_is_not_blank(value: str) -> None:
    assert not accepts(Annotated[str, FreeText(100, visible=True)], value)
    assert not accepts(Annotated[str, FreeText(100, visible=True)], f"\n{value}\n")


def test_the_description_has_the_bounds() -> None:
    line = TypeAdapter(Annotated[str, Line(7)]).json_schema()
    assert (line["type"], line["minLength"], line["maxLength"]) == ("string", 1, 7)
    assert {"type": "string", "maxLength": 7}.items() <= TypeAdapter(Annotated[str, FreeText(7)]).json_schema().items()


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-01-31T12:00:00 01:00", "2026-01-31T11:00:00.000000Z"),
        ("2026-01-31 12:00:00.5 05:30", "2026-01-31T06:30:00.500000Z"),
        ("2026-01-31t12:00 0100", "2026-01-31T11:00:00.000000Z"),
        ("2026-01-31T12:00:00+01:00", "2026-01-31T11:00:00.000000Z"),
        ("2026-01-31 12:00:00Z", "2026-01-31T12:00:00.000000Z"),
    ],
)
def test_the_plus_of_an_offset_may_have_become_a_space(written: str, moment: str) -> None:
    assert (
        TypeAdapter(WrittenMoment).dump_json(TypeAdapter(WrittenMoment).validate_python(written)).decode()
        == f'"{moment}"'
    )


@pytest.mark.parametrize(
    "written", ["2026-01-31 12:00", "2026-01-31 12:00:00", "2026-01-31T12:00:00  01:00", "12:00 01:00"]
)
def test_a_space_is_no_offset_elsewhere(written: str) -> None:
    assert not accepts(WrittenMoment, written)
    assert not accepts(Moment, "2026-01-31T12:00:00 01:00")


class Example(RequestModel):
    """A request with a field that may be left out but not be null."""

    name: Annotated[str, Line(100)] = UNCHANGED
    note: Annotated[str, FreeText(100)] | None = None


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
