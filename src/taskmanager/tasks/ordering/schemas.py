"""What a move within a project takes."""

from taskmanager.field_types import UNCHANGED, Id
from taskmanager.ordering.schemas import Place
from taskmanager.tasks.schemas import TaskStatus


class TaskMove(Place):
    """Where to put a task, and what changes with it; without `section_id` it gets into its neighbour's section."""

    section_id: Id | None = None
    status: TaskStatus = UNCHANGED
