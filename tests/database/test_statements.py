"""Both forms of a declared statement answer the same."""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url

from taskmanager.database.statements import Arguments, Statement
from tests.support.server import connect

MOST = 64
TEXTS = [
    *(
        "",
        " ",
        "a",
        "NULL",
        "null",
        '"',
        "'",
        "\\",
        '\\"',
        "{",
        "}",
        "{}",
        "{a,b}",
        ",",
        "a,b",
        "a b",
        "\t\n\r",
        "\x01\x7f",
    ),
    *(
        "ü",
        "😀",
        "\u2028",
        "\ufeff",
        "e\u0301",
        '"quoted"',
        "\\\\",
        "C:\\n",
        "$1",
        ":user_id",
        "%s",
        "--",
        "/*",
        ";",
        "x" * 5_000,
    ),
]
VALUES: dict[str, list[Any]] = {
    "bigint": [0, 1, -1, 2**63 - 1, -(2**63), None],
    "integer": [0, 5, 2**31 - 1, -(2**31), None],
    "text": [*TEXTS, None],
    "boolean": [True, False, None],
    "bytea": [b"", b"\x00\xff\\'", b"x" * 100, None],
    "timestamptz": [
        datetime(2030, 1, 31, 12, 0, 0, 123456, UTC),
        datetime(1, 1, 2, tzinfo=UTC),
        datetime(2030, 1, 31, 12, tzinfo=timezone(timedelta(hours=5, minutes=45))),
        None,
    ],
    "bigint[]": [[], [1], [1, 2, 3], [2**63 - 1, -(2**63), 0], None],
    "integer[]": [[], [5], [1, 2, 1], None],
    "text[]": [[], [""], ["a"], *([text] for text in TEXTS), TEXTS, TEXTS[::-1], None],
}


@pytest.fixture(scope="module")
async def connection(database_url: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """A connection of its own."""
    connection = await connect(make_url(database_url))
    yield connection
    await connection.close()


def typed(kind: str, *, sql: str = "SELECT :value AS value, :value IS NULL AS is_null") -> Statement:
    """Return a statement that answers with its parameter, of a type."""
    return Statement("echo", sql, {"value": kind}, shared=True)


async def lone(
    connection: "asyncpg.Connection[Any]", statement: Statement, requests: list[Arguments]
) -> list[tuple[Any, ...] | None]:
    """Return the row of each request, or None, by the statement for one."""
    rows = [await connection.fetch(statement.lone, *arguments) for arguments in requests]
    return [tuple(found[0]) if found else None for found in rows]


async def shared(
    connection: "asyncpg.Connection[Any]", statement: Statement, requests: list[Arguments]
) -> list[tuple[Any, ...] | None]:
    """Return the row of each request, or None, by the statement for many."""
    answers: list[tuple[Any, ...] | None] = [None] * len(requests)
    for n, *row in await connection.fetch(statement.shared, *statement.columns(requests)):
        assert answers[n - 1] is None
        answers[n - 1] = tuple(row)
    return answers


@pytest.mark.parametrize("size", [1, 2, MOST])
@pytest.mark.parametrize("kind", VALUES)
async def test_both_forms_give_the_same_rows(connection: "asyncpg.Connection[Any]", kind: str, size: int) -> None:
    statement = typed(kind)
    values = VALUES[kind]
    batches = [values[start : start + size] for start in range(0, len(values), size)]
    if size == MOST:
        batches = [[values[n % len(values)] for n in range(size)]]
    for batch in batches:
        requests = [statement.arguments({"value": value}) for value in batch]
        alone = await lone(connection, statement, requests)
        assert alone == await shared(connection, statement, requests)
        # And it is what was given.
        assert alone == [(value, value is None) for value in batch]


@pytest.mark.parametrize("size", [1, 2, MOST])
async def test_all_types_together_and_no_row_for_some(connection: "asyncpg.Connection[Any]", size: int) -> None:
    columns = {f"value_{number}": kind for number, kind in enumerate(VALUES)}
    sql = f"SELECT {', '.join(f':{name} AS {name}' for name in columns)} WHERE :number % 3 <> 1"
    statement = Statement("all", sql, {**columns, "number": "integer"}, shared=True)
    requests = [
        statement.arguments(
            {"number": number, **{name: VALUES[kind][number % len(VALUES[kind])] for name, kind in columns.items()}}
        )
        for number in range(1, size + 1)
    ]
    alone = await lone(connection, statement, requests)
    assert alone == await shared(connection, statement, requests)
    assert [row is None for row in alone] == [number % 3 == 1 for number in range(1, size + 1)]
    assert [row for row in alone if row is not None] == [given[:-1] for given in requests if given[-1] % 3 != 1]


async def test_no_row_for_any(connection: "asyncpg.Connection[Any]") -> None:
    statement = typed("text", sql="SELECT :value AS value WHERE false")
    assert await shared(connection, statement, [("a",), ("b",)]) == [None, None]


@pytest.mark.parametrize("name", ["limit", "order", "user", "select", "value", "ordinality", "end"])
async def test_a_parameter_may_have_the_name_of_a_word_of_sql(connection: "asyncpg.Connection[Any]", name: str) -> None:
    statement = Statement("word", f"SELECT :{name} + 1 AS next, :{name} AS same", {name: "integer"}, shared=True)
    for form in (lone, shared):
        assert await form(connection, statement, [(1,), (2,)]) == [(2, 1), (3, 2)]


async def test_rows_are_read_and_their_columns_keep_their_names(connection: "asyncpg.Connection[Any]") -> None:
    sql = "SELECT m.n AS n_squared, m.label FROM (VALUES (1, 'a'), (4, 'b')) AS m (n, label) WHERE m.n = :some_id"
    statement = Statement("rows", sql, shared=True)
    rows = await connection.fetch(statement.shared, *statement.columns([(4,), (2,), (1,)]))
    assert sorted((dict(row) for row in rows), key=lambda row: row["n"]) == [
        {"n": 1, "n_squared": 4, "label": "b"},
        {"n": 3, "n_squared": 1, "label": "a"},
    ]


def test_types_go_by_names_unless_they_are_given() -> None:
    sql = "SELECT :user_id, :project_ids, :after_time, :limit, :user_id, x::text, :free"
    statement = Statement("typed", sql, {"free": "text"})
    assert statement.names == ("user_id", "project_ids", "after_time", "limit", "free")
    assert re.findall(r"CAST\((\$\d) AS ([^)]+)\)", statement.lone) == [
        ("$1", "bigint"),
        ("$2", "bigint[]"),
        ("$3", "timestamptz"),
        ("$4", "integer"),
        ("$1", "bigint"),
        ("$5", "text"),
    ]
    with pytest.raises(ValueError, match="parameter free needs a type"):
        Statement("untyped", "SELECT :free")


def test_every_argument_must_be_given() -> None:
    with pytest.raises(KeyError):
        typed("text").arguments({})
