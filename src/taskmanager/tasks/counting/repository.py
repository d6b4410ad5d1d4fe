"""Counts tasks by what they have in common."""

from collections.abc import Sequence
from typing import NamedTuple

from taskmanager.database.reads import Reads
from taskmanager.tasks.counting.schemas import ProjectTaskCountQuery
from taskmanager.tasks.counting.statements import counts_alone, counts_of_few
from taskmanager.tasks.listing.filters import (
    chosen_projects,
    filters_of_few,
    given_filters,
    values_for_few,
    with_single_values,
)


class FoundCounts(NamedTuple):
    """Counts as the bytes of their JSON object, and of how many tasks they are."""

    body: bytes
    total: int


class TaskCountReader:
    """Counts tasks of projects that the caller is a member of."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads

    async def read(self, query: ProjectTaskCountQuery, *, user_id: int, project_ids: Sequence[int]) -> FoundCounts:
        """Return how many tasks there are in the given projects, or in all of the caller's that the query wants."""
        projects = chosen_projects(query, user_id=user_id, project_ids=project_ids)
        filters = given_filters(query, user_id)
        few = counts_of_few(query.by, filters_of_few(filters))
        row = await self._reads.one(few, **values_for_few(filters, projects))
        assert row is not None  # an aggregate always gives a row
        if not row["is_small"]:
            filters = with_single_values(filters)
            alone = counts_alone(query.by, tuple(filters), min(len(projects["project_ids"]), 2))
            row = await self._reads.one(alone, **projects, **filters)
            assert row is not None
        total = row["total"]
        return FoundCounts(b'{"counts":[%b],"total":%d}' % (row["counts"] or b"", total), total)
