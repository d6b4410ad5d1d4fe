"""What bulk routes take and answer."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from taskmanager.field_types import Id, RequestModel, ResponseModel, WrittenId, exactly_one_of
from taskmanager.tasks.schemas import TaskChanges, TaskCreateAnywhere, TaskRead

MAX_TASKS = 100
Version = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]


class BulkCreate(RequestModel):
    """New tasks, all for one project."""

    tasks: Annotated[list[TaskCreateAnywhere], Field(min_length=1, max_length=MAX_TASKS, description="The tasks.")]

    @model_validator(mode="after")
    def _require_one_project(self) -> Self:
        if len({task.project_id for task in self.tasks}) > 1:
            raise ValueError("all tasks must be for the same project")
        return self


class BulkChanges(TaskChanges):
    """What to set on every task; what is left out stays as it is."""


class TaskVersion(RequestModel):
    """A task at the version that the client knows."""

    id: Id
    version: Version


class BulkUpdate(RequestModel):
    """Tasks of one project, by id or by id and version, and what to set on all of them."""

    model_config = ConfigDict(json_schema_extra=exactly_one_of(ids="BulkUpdateByIds", tasks="BulkUpdateByVersions"))

    ids: Annotated[list[Id], Field(min_length=1, max_length=MAX_TASKS)] | None = None
    tasks: Annotated[list[TaskVersion], Field(min_length=1, max_length=MAX_TASKS)] | None = Field(
        default=None, description="Tasks of one project with the versions that they must be at, none twice."
    )
    set: BulkChanges = Field(description="The fields to set.")

    @model_validator(mode="after")
    def _require_one_list_without_duplicates(self) -> Self:
        if (self.ids is None) == (self.tasks is None):
            raise ValueError("give either ids or tasks")
        _refuse_duplicates(self.task_ids)
        return self

    @property
    def task_ids(self) -> list[int]:
        """The ids, in the order of the request."""
        return self.ids if self.ids is not None else [task.id for task in self.tasks or []]

    @property
    def versions(self) -> list[int | None]:
        """The version that each task must be at; None where any will do."""
        return [None] * len(self.ids) if self.ids is not None else [task.version for task in self.tasks or []]


class BulkDelete(RequestModel):
    """Ids of tasks of one project, each as `id=`."""

    id: Annotated[
        list[WrittenId], Field(min_length=1, max_length=MAX_TASKS, description="Ids of tasks.", examples=[[2, 3]])
    ]

    @model_validator(mode="after")
    def _require_no_duplicates(self) -> Self:
        _refuse_duplicates(self.id)
        return self


class BulkResult(ResponseModel):
    """The tasks, in the order of the request."""

    tasks: list[TaskRead] = Field(description="The tasks, in the order of the request.")


def _refuse_duplicates(ids: list[int]) -> None:
    if len(set(ids)) < len(ids):
        raise ValueError("no task may be named twice")
