"""What a move within a project takes."""

from pydantic import ConfigDict

from taskmanager.field_types import UNCHANGED, Id, exactly_one_of
from taskmanager.ordering.schemas import Place
from taskmanager.tasks.schemas import TaskStatus


class TaskMove(Place):
    """Where to put a task, and what changes with it; without `section_id` it gets into its neighbour's section."""

    model_config = ConfigDict(
        json_schema_extra=exactly_one_of(at="TaskMoveToEnd", before="TaskMoveBefore", after="TaskMoveAfter")
    )

    section_id: Id | None = None
    status: TaskStatus = UNCHANGED
