"""Memory that caches take does not depend on what requests bring."""

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from taskmanager.middleware import ProblemCORSMiddleware
from taskmanager.short_key_cache import LONGEST_KEY, cache_short_keys
from taskmanager.tasks.list_repository import _page, _Shape
from taskmanager.tasks.schemas import TaskSort
from taskmanager.tasks.shortcuts import _read_page_query


def test_short_keys_are_kept_and_long_ones_are_not() -> None:
    calls: list[str | None] = []

    @cache_short_keys(8)
    def find(key: str | None) -> int:
        calls.append(key)
        return len(calls)

    short, long = "s" * LONGEST_KEY, "l" * (LONGEST_KEY + 1)
    assert [find(short), find(short), find(None), find(None), find(long), find(long)] == [1, 1, 2, 2, 3, 4]


def test_long_origins_and_queries_are_not_kept() -> None:
    cors = ProblemCORSMiddleware(FastAPI(), allow_origins=["https://app.example.com"])
    assert isinstance(cors, CORSMiddleware)
    long = b"https://" + b"o" * 10_000
    assert cors.answer_headers(long) is not cors.answer_headers(long)
    assert cors.answer_headers(b"https://app.example.com") is cors.answer_headers(b"https://app.example.com")
    query = b"cursor=" + b"c" * 3_000
    assert _read_page_query(query, None) is not _read_page_query(query, None)
    assert _read_page_query(b"limit=5", None) is _read_page_query(b"limit=5", None)


def test_a_statement_of_a_list_takes_little_memory() -> None:
    for number in range(200):
        filters = tuple(name for bit, name in enumerate(("status", "tags", "search", "overdue")) if number >> bit & 1)
        statement = _page(_Shape(TaskSort.DUE_AT, number % 2 == 0, filters, number % 3, (), with_total=True))
        assert len(statement.text) < 10_000
    assert _page.cache_info().currsize <= 64
