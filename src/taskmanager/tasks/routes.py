"""Routes of tasks, under `/tasks` and under `/projects/{project_id}/tasks`."""

from functools import partial
from typing import Annotated

from fastapi import Path, Query, Response

from taskmanager.accounts.dependencies import TasksReader, TasksWriter
from taskmanager.field_types import WrittenId
from taskmanager.http.answers import JsonAnswer
from taskmanager.http.dependencies import (
    AppReads,
    Condition,
    IdempotentTransaction,
    IdempotentWrite,
    Known,
    KnownVersions,
    Paging,
    Transaction,
)
from taskmanager.http.preconditions import IfMatch, etag
from taskmanager.http.problems import problems
from taskmanager.http.routing import API_PREFIX, api_router
from taskmanager.projects.repository import ProjectReader
from taskmanager.projects.roles import Role
from taskmanager.projects.routes import ProjectId
from taskmanager.tasks.listing.repository import TaskListReader
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
Notify = Annotated[bool, Query(description="Tell creator, assignee and commenters of the change.")]

_LIST = problems(400, 401, 403, 404, 422, 429, 503)
_READ = problems(304, 400, 401, 403, 404, 422, 429, 503)
_CREATE = problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503)
_UPDATE = problems(400, 401, 403, 404, 409, 412, 413, 415, 422, 428, 429, 503)
_DELETE = problems(400, 401, 403, 404, 409, 412, 422, 428, 429, 503)

router = api_router("/tasks", tag="tasks")
project_router = api_router("/projects/{project_id}/tasks", tag="tasks")


def _tagged(task: TaskRead, response: Response) -> TaskRead:
    response.headers["ETag"] = etag(task.version)
    return task


async def _create(
    write: IdempotentWrite, new: TaskCreate, response: Response, *, user_id: int, project_id: int | None
) -> TaskRead:
    task = await TaskWriter(write.session).create(new, user_id=user_id, project_id=project_id)
    write.allow_replay(task.project_id, Role.EDITOR)
    response.headers["Location"] = f"{API_PREFIX}/tasks/{task.id}"
    return _tagged(task, response)


async def _read(
    tasks: TaskReader, task_id: int, known: KnownVersions, *, user_id: int, project_id: int | None = None
) -> Response:
    return await known.answer(
        partial(tasks.find, task_id, user_id=user_id, project_id=project_id),
        partial(tasks.find_version, task_id, user_id=user_id, project_id=project_id),
    )


async def _update(
    tasks: TaskWriter,
    task_id: int,
    changes: TaskUpdate,
    *,
    user_id: int,
    condition: IfMatch,
    notify: bool,
    project_id: int | None = None,
) -> TaskRead:
    target_id = changes.project_id
    if target_id is not None:
        source_id = await tasks.lock_for_move(
            task_id, target_id, user_id=user_id, project_id=project_id, condition=condition
        )
        if source_id != target_id:
            await tasks.move(task_id, source_id=source_id, target_id=target_id, user_id=user_id, notify=notify)
            # Checked above, on the locked row; the move itself made a new version, and told of it.
            condition, notify = IfMatch(None, given=True), False
        project_id = target_id
    return await tasks.update(
        task_id, changes, user_id=user_id, project_id=project_id, condition=condition, notify=notify
    )


@router.get("", response_model=TaskList, responses=problems(400, 401, 403, 422, 429, 503))
async def list_tasks(
    caller: TasksReader, query: Annotated[TaskQuery, Query()], reads: AppReads, paging: Paging
) -> JsonAnswer:
    """Return the tasks of all the caller's projects, filtered, sorted and paged."""
    page = await TaskListReader(reads, paging.signer).read(query, user_id=caller.user_id, project_ids=query.project_id)
    return JsonAnswer(page.body, link=paging.link(page.next_cursor))


@router.post("", status_code=201, responses=_CREATE)
async def create_task(
    caller: TasksWriter, new: TaskCreateAnywhere, write: IdempotentTransaction, response: Response
) -> TaskRead:
    """Create a task in the given project, or in the caller's Inbox."""
    return await _create(write, new, response, user_id=caller.user_id, project_id=new.project_id)


@router.get("/{task_id}", response_model=TaskRead, responses=_READ)
async def read_task(caller: TasksReader, task_id: TaskId, reads: AppReads, known: Known) -> Response:
    """Return a task; with If-None-Match only if it is not the version that the client has."""
    return await _read(TaskReader(reads), task_id, known, user_id=caller.user_id)


@router.put("/{task_id}", responses=_UPDATE)
@router.patch("/{task_id}", responses=_UPDATE)
async def update_task(
    caller: TasksWriter,
    task_id: TaskId,
    changes: TaskUpdate,
    transaction: Transaction,
    condition: Condition,
    response: Response,
    *,
    notify: Notify = False,
) -> TaskRead:
    """Change the given fields of a task; null clears a field that may be empty, `project_id` moves it."""
    task = await _update(
        TaskWriter(transaction), task_id, changes, user_id=caller.user_id, condition=condition, notify=notify
    )
    return _tagged(task, response)


@router.delete("/{task_id}", status_code=204, responses=_DELETE)
async def delete_task(caller: TasksWriter, task_id: TaskId, transaction: Transaction, condition: Condition) -> None:
    """Delete a task with its comments."""
    await TaskWriter(transaction).delete(task_id, user_id=caller.user_id, condition=condition)


@project_router.get("", response_model=TaskList, responses=_LIST)
async def list_project_tasks(
    caller: TasksReader,
    project_id: ProjectId,
    query: Annotated[ProjectTaskQuery, Query()],
    reads: AppReads,
    paging: Paging,
) -> JsonAnswer:
    """Return the tasks of a project, filtered, sorted and paged."""
    page = await TaskListReader(reads, paging.signer).read(query, user_id=caller.user_id, project_ids=[project_id])
    if page.is_empty:
        await ProjectReader(reads).find_version(project_id, user_id=caller.user_id)
    return JsonAnswer(page.body, link=paging.link(page.next_cursor))


@project_router.post("", status_code=201, responses=_CREATE)
async def create_project_task(
    caller: TasksWriter, project_id: ProjectId, new: TaskCreate, write: IdempotentTransaction, response: Response
) -> TaskRead:
    """Create a task in a project."""
    return await _create(write, new, response, user_id=caller.user_id, project_id=project_id)


@project_router.get("/{task_id}", response_model=TaskRead, responses=_READ)
async def read_project_task(
    caller: TasksReader, project_id: ProjectId, task_id: TaskId, reads: AppReads, known: Known
) -> Response:
    """Return a task of a project."""
    return await _read(TaskReader(reads), task_id, known, user_id=caller.user_id, project_id=project_id)


@project_router.put("/{task_id}", responses=_UPDATE)
@project_router.patch("/{task_id}", responses=_UPDATE)
async def update_project_task(
    caller: TasksWriter,
    project_id: ProjectId,
    task_id: TaskId,
    changes: TaskUpdate,
    transaction: Transaction,
    condition: Condition,
    response: Response,
    *,
    notify: Notify = False,
) -> TaskRead:
    """Change the given fields of a task of a project."""
    task = await _update(
        TaskWriter(transaction),
        task_id,
        changes,
        user_id=caller.user_id,
        condition=condition,
        notify=notify,
        project_id=project_id,
    )
    return _tagged(task, response)


@project_router.delete("/{task_id}", status_code=204, responses=_DELETE)
async def delete_project_task(
    caller: TasksWriter, project_id: ProjectId, task_id: TaskId, transaction: Transaction, condition: Condition
) -> None:
    """Delete a task of a project with its comments."""
    await TaskWriter(transaction).delete(task_id, user_id=caller.user_id, project_id=project_id, condition=condition)
