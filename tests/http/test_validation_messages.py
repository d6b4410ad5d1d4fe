"""What is said of a value that was refused: words for people, limits for programs."""

from typing import Any

import pytest

from tests.conftest import Person


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        (
            "/tasks",
            {"title": "x" * 201},
            {
                "loc": ["body", "title"],
                "msg": "may have at most 200 characters",
                "type": "string_too_long",
                "limits": {"max_length": 200},
            },
        ),
        (
            "/tasks",
            {"title": "x", "priority": 6},
            {
                "loc": ["body", "priority"],
                "msg": "must be 5 or less",
                "type": "less_than_equal",
                "limits": {"le": 5},
            },
        ),
        (
            "/tasks",
            {"title": "x", "tags": ["a"] * 21},
            {
                "loc": ["body", "tags"],
                "msg": "may have at most 20 elements",
                "type": "too_long",
                "limits": {"max_length": 20},
            },
        ),
        (
            "/users/me/api-keys",
            {"name": "x", "scopes": []},
            {
                "loc": ["body", "scopes"],
                "msg": "must have at least 1 element",
                "type": "too_short",
                "limits": {"min_length": 1},
            },
        ),
        ("/tasks", {}, {"loc": ["body", "title"], "msg": "is missing", "type": "missing"}),
        (
            "/tasks",
            {"title": "x", "status": "done"},
            {
                "loc": ["body", "status"],
                "msg": "must be 'pending', 'in_progress', 'completed' or 'cancelled'",
                "type": "enum",
            },
        ),
        (
            "/tasks",
            {"title": "x", "due_at": 1},
            {
                "loc": ["body", "due_at"],
                "msg": "must be a date and time with an offset, like 2026-01-31T12:00:00Z",
                "type": "value_error",
            },
        ),
        (
            "/tasks",
            {"title": "x", "color": 1},
            {"loc": ["body", "color"], "msg": "is not known here", "type": "extra_forbidden"},
        ),
    ],
)
async def test_a_refused_value(alice: Person, path: str, body: dict[str, Any], error: dict[str, Any]) -> None:
    assert (await alice.post(path, body, expect=422)).json()["errors"] == [error]
