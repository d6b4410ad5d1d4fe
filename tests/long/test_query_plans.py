"""The plans of tests/tasks/test_query_plans.py once more, in a project of 1,000,000 tasks."""

from collections.abc import AsyncIterator

import pytest

from tests.support.plans import LargeProject, large_project
from tests.tasks.test_query_plans import (
    TestPlans,
    test_a_filter_that_finds_little_reads_little,
    test_a_filter_that_finds_much_stops_when_the_page_is_full,
)

__all__ = (
    "TestPlans",
    "test_a_filter_that_finds_little_reads_little",
    "test_a_filter_that_finds_much_stops_when_the_page_is_full",
)
TASKS = 1_000_000


@pytest.fixture(scope="module")
async def large(database_url: str) -> AsyncIterator[LargeProject]:
    """The database."""
    async with large_project(database_url, TASKS) as project:
        yield project
