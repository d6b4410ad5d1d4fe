"""Routes of tasks, under `/tasks` and under `/projects/{project_id}/tasks`."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from taskmanager.accounts.dependencies import TasksReader, TasksWriter
from taskmanager.dependencies import Reader, Transaction
from taskmanager.field_types import WrittenId
from taskmanager.problems import problems
from taskmanager.projects.repository import ProjectReader
from taskmanager.projects.routes import ProjectId
from taskmanager.routing import StrictRoute
from taskmanager.tasks.repository import TaskReader, TaskWriter
from taskmanager.tasks.schemas import (
    ProjectTaskQuery,
    TaskCreate,
    TaskCreateAnywhere,
    TaskList,
    TaskQuery,
    TaskRead,
    TaskUpdate,
)

TaskId = Annotated[WrittenId, Path()]

_READ = problems(401, 403, 404, 422, 503)
_WRITE = problems(400, 401, 403, 404, 409, 413, 415, 422, 503)
_DELETE = problems(401, 403, 404, 409, 422, 503)

router = APIRouter(prefix="/tasks", route_class=StrictRoute, tags=["tasks"])
project_router = APIRouter(prefix="/projects/{project_id}/tasks", route_class=StrictRoute, tags=["tasks"])


def _created(task: TaskRead, response: Response) -> TaskRead:
    response.headers["Location"] = f"/api/v1/tasks/{task.id}"
    return task


async def _change(
    tasks: TaskWriter, task_id: int, changes: TaskUpdate, *, user_id: int, project_id: int | None = None
) -> TaskRead:
    if changes.project_id is not None:
        source_id = await tasks.lock_for_move(task_id, changes.project_id, user_id=user_id, project_id=project_id)
        if source_id != changes.project_id:
            await tasks.move(task_id, source_id=source_id, target_id=changes.project_id, user_id=user_id)
        project_id = changes.project_id
    return await tasks.update(task_id, changes, user_id=user_id, project_id=project_id)


@router.get("", responses=problems(401, 403, 422, 503))
async def list_tasks(caller: TasksReader, query: Annotated[TaskQuery, Query()], reader: Reader) -> TaskList:
    """Return the tasks of all the caller's projects, filtered, sorted and paged."""
    return await TaskReader(reader).list_everywhere(query, user_id=caller.user_id)


@router.post("", status_code=201, responses=_WRITE)
async def create_task(
    caller: TasksWriter, new: TaskCreateAnywhere, transaction: Transaction, response: Response
) -> TaskRead:
    """Create a task in the given project, or in the caller's Inbox."""
    return _created(
        await TaskWriter(transaction).create(new, user_id=caller.user_id, project_id=new.project_id), response
    )


@router.get("/{task_id}", responses=_READ)
async def read_task(caller: TasksReader, task_id: TaskId, reader: Reader) -> TaskRead:
    """Return a task."""
    return await TaskReader(reader).find(task_id, user_id=caller.user_id)


@router.put("/{task_id}", responses=_WRITE)
@router.patch("/{task_id}", responses=_WRITE)
async def update_task(caller: TasksWriter, task_id: TaskId, changes: TaskUpdate, transaction: Transaction) -> TaskRead:
    """Change the given fields of a task; null clears a field that may be empty, `project_id` moves it."""
    return await _change(TaskWriter(transaction), task_id, changes, user_id=caller.user_id)


@router.delete("/{task_id}", status_code=204, responses=_DELETE)
async def delete_task(caller: TasksWriter, task_id: TaskId, transaction: Transaction) -> None:
    """Delete a task with its comments."""
    await TaskWriter(transaction).delete(task_id, user_id=caller.user_id)


@project_router.get("", responses=_READ)
async def list_project_tasks(
    caller: TasksReader, project_id: ProjectId, query: Annotated[ProjectTaskQuery, Query()], reader: Reader
) -> TaskList:
    """Return the tasks of a project, filtered, sorted and paged."""
    page = await TaskReader(reader).list_in_project(query, project_id, user_id=caller.user_id)
    if not page.total:
        await ProjectReader(reader).find(project_id, user_id=caller.user_id)
    return page


@project_router.post("", status_code=201, responses=_WRITE)
async def create_project_task(
    caller: TasksWriter, project_id: ProjectId, new: TaskCreate, transaction: Transaction, response: Response
) -> TaskRead:
    """Create a task in a project."""
    return _created(await TaskWriter(transaction).create(new, user_id=caller.user_id, project_id=project_id), response)


@project_router.get("/{task_id}", responses=_READ)
async def read_project_task(caller: TasksReader, project_id: ProjectId, task_id: TaskId, reader: Reader) -> TaskRead:
    """Return a task of a project."""
    return await TaskReader(reader).find(task_id, user_id=caller.user_id, project_id=project_id)


@project_router.put("/{task_id}", responses=_WRITE)
@project_router.patch("/{task_id}", responses=_WRITE)
async def update_project_task(
    caller: TasksWriter, project_id: ProjectId, task_id: TaskId, changes: TaskUpdate, transaction: Transaction
) -> TaskRead:
    """Change the given fields of a task of a project."""
    return await _change(TaskWriter(transaction), task_id, changes, user_id=caller.user_id, project_id=project_id)


@project_router.delete("/{task_id}", status_code=204, responses=_DELETE)
async def delete_project_task(
    caller: TasksWriter, project_id: ProjectId, task_id: TaskId, transaction: Transaction
) -> None:
    """Delete a task of a project with its comments."""
    await TaskWriter(transaction).delete(task_id, user_id=caller.user_id, project_id=project_id)
