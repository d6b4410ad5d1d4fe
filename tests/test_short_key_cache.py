"""Memory that caches take does not depend on what requests bring."""

from taskmanager.http.cors import Cors
from taskmanager.short_key_cache import LONGEST_KEY, cache_short_keys
from taskmanager.tasks.listing.schemas import SortKey, TaskSort
from taskmanager.tasks.listing.statements import SHARED_PAGES, Shape, page_alone


def test_short_keys_are_kept_and_long_ones_are_not() -> None:
    calls: list[str | None] = []

    @cache_short_keys(8)
    def find(key: str | None) -> int:
        calls.append(key)
        return len(calls)

    short, long = "s" * LONGEST_KEY, "l" * (LONGEST_KEY + 1)
    assert [find(short), find(short), find(None), find(None), find(long), find(long)] == [1, 1, 2, 2, 3, 4]


def test_long_origins_are_not_kept() -> None:
    cors = Cors(["https://app.example.com"], allow_credentials=True)
    long = b"https://" + b"o" * 10_000
    assert cors.headers(long) is not cors.headers(long)
    assert cors.headers(b"https://app.example.com") is cors.headers(b"https://app.example.com")


def test_a_statement_of_a_list_takes_little_memory() -> None:
    for number in range(200):
        filters = tuple(name for bit, name in enumerate(("status", "tags", "search", "overdue")) if number >> bit & 1)
        shape = Shape((SortKey(TaskSort.DUE_AT, number % 2 == 0),), filters, number % 3, (), with_total=True)
        assert len(page_alone(shape).lone) < 10_000
    assert page_alone.cache_info().currsize <= 64
    assert len(SHARED_PAGES) <= 96
