"""The route that puts a task to another place."""

from taskmanager.accounts.dependencies import TasksWriter, Writing
from taskmanager.http.answers import JsonAnswer, answer_write
from taskmanager.http.dependencies import Condition
from taskmanager.http.problems import problems
from taskmanager.http.routing import api_router
from taskmanager.roles import Role
from taskmanager.tasks.ordering.repository import TaskOrderWriter
from taskmanager.tasks.ordering.schemas import TaskMove
from taskmanager.tasks.routes import TaskId
from taskmanager.tasks.schemas import TaskRead

router = api_router("/tasks/{task_id}/move", tag="tasks")


@router.post(
    "", response_model=TaskRead, responses=problems(400, 401, 403, 404, 409, 412, 413, 415, 422, 428, 429, 503)
)
async def move_task(
    caller: TasksWriter, task_id: TaskId, move: TaskMove, write: Writing, condition: Condition
) -> JsonAnswer:
    """Put a task before or after another one of its project, or to an end; into another section or status with it."""
    work = TaskOrderWriter(write, write.reads).move(task_id, move, user_id=caller.user_id, condition=condition)
    return await answer_write(write, work, role=Role.EDITOR)
