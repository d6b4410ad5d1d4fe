"""What routes that count tasks take and answer."""

from enum import StrEnum

from pydantic import Field

from taskmanager.field_types import ResponseModel, WrittenId
from taskmanager.tasks.listing.schemas import TaskFilters


class CountBy(StrEnum):
    """What tasks are counted by."""

    STATUS = "status"
    PROJECT = "project"
    ASSIGNEE = "assignee"
    PRIORITY = "priority"
    SECTION = "section"
    DUE = "due"
    TAG = "tag"


class ProjectTaskCountQuery(TaskFilters):
    """Which tasks of a project to count, and by what; a repeated filter means any of its values."""

    by: CountBy = Field(description="What they are counted by.")


class TaskCountQuery(ProjectTaskCountQuery):
    """Which tasks to count, and by what; a repeated filter means any of its values."""

    project_id: list[WrittenId] = []


class TaskCount(ResponseModel):
    """How many tasks have something in common."""

    key: int | str | None = Field(description="What they have in common; null for those that have none.")
    count: int = Field(description="How many tasks have it.")


class TaskCounts(ResponseModel):
    """How many tasks there are of each kind, most first; the 1,000 kinds that have most."""

    counts: list[TaskCount] = Field(description="A count for each kind that there is.")
    total: int = Field(description="How many tasks match, each counted once, whatever tags it has.")
