"""Which values the fields of a task take."""

from typing import Any

import pytest

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.event_log import events_of


class TestValues:
    """What single fields take and become."""

    @pytest.mark.parametrize(
        ("given", "stored"),
        [
            ([" Home ", "WORK"], ["home", "work"]),
            (["b", "a", "B", "a"], ["a", "b"]),
            (["zwei wörter", "ÄPFEL"], ["zwei wörter", "äpfel"]),
            (["x" * 50], ["x" * 50]),
            ([f"{n:02}" for n in range(20)], [f"{n:02}" for n in range(20)]),
            ([], []),
        ],
    )
    async def test_tags_are_trimmed_lowered_unique_and_sorted(
        self, alice: Person, given: list[str], stored: list[str]
    ) -> None:
        task = await alice.new_task(tags=given)
        assert task["tags"] == stored
        other = await alice.new_task(tags=["other"])
        assert (await alice.patch(f"/tasks/{other['id']}", {"tags": given})).json()["tags"] == stored

    async def test_bad_tags_are_422(self, alice: Person) -> None:
        bad: tuple[Any, ...] = (
            ["x" * 51],
            [" "],
            [""],
            [None],
            [1],
            "home",
            {"home": 1},
            [f"{n}" for n in range(21)],
            ["İ" * 30],  # 60 characters in lower case
            ["a\x00b"],
        )
        for tags in bad:
            await alice.post("/tasks", {"title": "A task", "tags": tags}, expect=422)

    @pytest.mark.parametrize(
        ("given", "answered"),
        [
            ("2031-01-31T12:00:00Z", "2031-01-31T12:00:00.000000Z"),
            ("2031-01-31T12:00:00.123456Z", "2031-01-31T12:00:00.123456Z"),
            ("2031-01-31T12:00:00.5+00:00", "2031-01-31T12:00:00.500000Z"),
            ("2031-01-31T12:00:00+14:00", "2031-01-30T22:00:00.000000Z"),
            ("2031-01-31T12:00:00-12:00", "2031-02-01T00:00:00.000000Z"),
            ("2031-01-31 12:00:00+05:30", "2031-01-31T06:30:00.000000Z"),
            ("2031-01-31T12:00Z", "2031-01-31T12:00:00.000000Z"),
            ("0001-01-01T00:00:00.000001Z", "0001-01-01T00:00:00.000001Z"),
            ("9999-12-31T23:59:59.999998Z", "9999-12-31T23:59:59.999998Z"),
        ],
    )
    async def test_due_at_is_answered_in_utc_with_microseconds(
        self, alice: Person, database: Database, given: str, answered: str
    ) -> None:
        task = await alice.new_task(due_at=given)
        assert task["due_at"] == answered
        assert (await alice.patch(f"/tasks/{task['id']}", {"due_at": given})).json() == task
        other = await alice.new_task()
        assert (await alice.patch(f"/tasks/{other['id']}", {"due_at": given})).json()["due_at"] == answered
        assert (await alice.get(f"/tasks/{other['id']}")).json()["due_at"] == answered
        log = await events_of(database, "task", other["id"])
        assert log[-1]["changes"] == {"due_at": {"old": None, "new": answered}}

    async def test_a_due_at_without_offset_or_not_a_time_is_422(self, alice: Person, subtests: pytest.Subtests) -> None:
        bad: tuple[Any, ...] = (
            "2031-01-31T12:00:00",
            "2031-01-31",
            "12:00:00Z",
            "tomorrow",
            "",
            "1927281600",
            1_927_281_600,
            1_927_281_600.5,
            True,
            ["2031-01-31T12:00:00Z"],
            "2031-02-30T12:00:00Z",
            "2031-01-31T24:30:00Z",
            "0000-01-01T00:00:00Z",
            "10000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+14:00",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59.999999Z",
            "9999-12-31T23:59:59-01:00",
            "\u0662\u0660\u0663\u0661-01-31T12:00:00Z",  # digits of another script
        )
        task = await alice.new_task()
        for due_at in bad:
            with subtests.test(due_at=due_at):
                await alice.post("/tasks", {"title": "A task", "due_at": due_at}, expect=422)
                await alice.patch(f"/tasks/{task['id']}", {"due_at": due_at}, expect=422)

    async def test_titles_are_trimmed(self, alice: Person) -> None:
        assert (await alice.new_task(title="\t A  task \n"))["title"] == "A  task"

    async def test_lengths_count_characters_after_trimming(self, alice: Person) -> None:
        task = await alice.new_task(title=" " + "😀" * 200, description="😀" * 2000)
        assert task["title"] == "😀" * 200
        assert task["description"] == "😀" * 2000
        await alice.post("/tasks", {"title": "😀" * 201}, expect=422)

    @pytest.mark.parametrize(
        ("field", "values"),
        [
            ("title", ("", " ", "\t\n", "\u00a0", None, 5, ["A task"])),
            ("priority", (0, 6, -1, 2**31, 2**63, 1.0, 2.5, "3", True, None)),
            ("status", ("done", "PENDING", "", 1, None)),
            ("description", (1, ["text"], "x" * 2001)),
        ],
    )
    async def test_blank_text_other_types_and_what_is_out_of_range_is_422(
        self, alice: Person, field: str, values: tuple[Any, ...]
    ) -> None:
        for value in values:
            problem = (await alice.post("/tasks", {"title": "A task", field: value}, expect=422)).json()
            assert [error["loc"][:2] for error in problem["errors"]] == [["body", field]]
