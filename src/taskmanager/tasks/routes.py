"""Routes of tasks, under `/tasks` and under `/projects/{project_id}/tasks`."""

from functools import partial
from typing import Annotated

from fastapi import Path, Query, Response
from pydantic import Field

from taskmanager.accounts.dependencies import TasksReader, TasksWriter, Writing
from taskmanager.accounts.request_writes import RequestWrites
from taskmanager.field_types import RequestModel, WrittenId
from taskmanager.http.answers import JsonAnswer, NoContent, answer_removal, answer_write
from taskmanager.http.dependencies import AppReads, Condition, Known, KnownVersions, Paging
from taskmanager.http.problems import problems
from taskmanager.http.routing import API_PREFIX, api_router
from taskmanager.projects.repository import ProjectReader
from taskmanager.projects.routes import ProjectId
from taskmanager.roles import Role
from taskmanager.tasks.listing.repository import TaskListReader
from taskmanager.tasks.listing.schemas import ProjectTaskQuery, TaskIncludeQuery, TaskQuery
from taskmanager.tasks.repository import TaskReader, TaskWriter
from taskmanager.tasks.schemas import TaskAnswer, TaskCreate, TaskCreateAnywhere, TaskList, TaskRead, TaskUpdate

TaskId = Annotated[WrittenId, Path()]

_LIST = problems(400, 401, 403, 404, 422, 429, 503)
_READ = problems(304, 400, 401, 403, 404, 422, 429, 503)
_CREATE = problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503)
_UPDATE = problems(400, 401, 403, 404, 409, 412, 413, 415, 422, 428, 429, 503)
_DELETE = problems(400, 401, 403, 404, 409, 412, 422, 428, 429, 503)

router = api_router("/tasks", tag="tasks")
project_router = api_router("/projects/{project_id}/tasks", tag="tasks")


class UpdateQuery(RequestModel):
    """What else a change does."""

    notify: bool = Field(default=False, description="Notify creator, assignee and commenters of the change.")


UpdateOptions = Annotated[UpdateQuery, Query()]
TaskIncludes = Annotated[TaskIncludeQuery, Query()]


async def _create(write: RequestWrites, new: TaskCreate, *, user_id: int, project_id: int | None) -> JsonAnswer:
    work = TaskWriter(write).create(new, user_id=user_id, project_id=project_id)
    return await answer_write(write, work, status=201, location=f"{API_PREFIX}/tasks/", role=Role.EDITOR)


async def _read(
    tasks: TaskReader,
    task_id: int,
    query: TaskIncludeQuery,
    known: KnownVersions,
    *,
    user_id: int,
    project_id: int | None = None,
) -> Response:
    return await known.answer(
        partial(tasks.find, task_id, user_id=user_id, project_id=project_id, included=query.included),
        partial(tasks.find_version, task_id, user_id=user_id, project_id=project_id),
        is_named_by_version=not query.include,
    )


@router.get("", response_model=TaskList, responses=problems(400, 401, 403, 422, 429, 503))
async def list_tasks(
    caller: TasksReader, query: Annotated[TaskQuery, Query()], reads: AppReads, paging: Paging
) -> JsonAnswer:
    """Return the tasks of all the caller's projects, filtered, sorted and paged, or those of given ids."""
    tasks = TaskListReader(reads, paging.signer)
    if query.id:
        page = await tasks.read_those(query.id, query.included, user_id=caller.user_id)
    else:
        page = await tasks.read(query, user_id=caller.user_id, project_ids=query.project_id)
    return JsonAnswer(page.body, link=paging.link(page.next_cursor))


@router.post("", status_code=201, response_model=TaskRead, responses=_CREATE)
async def create_task(caller: TasksWriter, new: TaskCreateAnywhere, write: Writing) -> JsonAnswer:
    """Create a task in the given project, or in the caller's Inbox."""
    return await _create(write, new, user_id=caller.user_id, project_id=new.project_id)


@router.get("/{task_id}", response_model=TaskAnswer, responses=_READ)
async def read_task(
    caller: TasksReader, task_id: TaskId, query: TaskIncludes, reads: AppReads, known: Known
) -> Response:
    """Return a task; with If-None-Match only if it is not the version that the client has."""
    return await _read(TaskReader(reads), task_id, query, known, user_id=caller.user_id)


@router.put("/{task_id}", response_model=TaskRead, responses=_UPDATE)
@router.patch("/{task_id}", response_model=TaskRead, responses=_UPDATE)
async def update_task(
    caller: TasksWriter,
    task_id: TaskId,
    changes: TaskUpdate,
    options: UpdateOptions,
    write: Writing,
    condition: Condition,
) -> JsonAnswer:
    """Change the given fields of a task; null clears a field that may be empty, `project_id` moves it."""
    work = TaskWriter(write).update(
        task_id, changes, user_id=caller.user_id, condition=condition, notify=options.notify
    )
    return await answer_write(write, work, role=Role.EDITOR)


@router.delete("/{task_id}", status_code=204, responses=_DELETE)
async def delete_task(caller: TasksWriter, task_id: TaskId, write: Writing, condition: Condition) -> NoContent:
    """Delete a task with its comments."""
    return await answer_removal(write, TaskWriter(write).delete(task_id, user_id=caller.user_id, condition=condition))


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


@project_router.post("", status_code=201, response_model=TaskRead, responses=_CREATE)
async def create_project_task(
    caller: TasksWriter, project_id: ProjectId, new: TaskCreate, write: Writing
) -> JsonAnswer:
    """Create a task in a project."""
    return await _create(write, new, user_id=caller.user_id, project_id=project_id)


@project_router.get("/{task_id}", response_model=TaskAnswer, responses=_READ)
async def read_project_task(
    caller: TasksReader, project_id: ProjectId, task_id: TaskId, query: TaskIncludes, reads: AppReads, known: Known
) -> Response:
    """Return a task of a project."""
    return await _read(TaskReader(reads), task_id, query, known, user_id=caller.user_id, project_id=project_id)


@project_router.put("/{task_id}", response_model=TaskRead, responses=_UPDATE)
@project_router.patch("/{task_id}", response_model=TaskRead, responses=_UPDATE)
async def update_project_task(
    caller: TasksWriter,
    project_id: ProjectId,
    task_id: TaskId,
    changes: TaskUpdate,
    options: UpdateOptions,
    write: Writing,
    condition: Condition,
) -> JsonAnswer:
    """Change the given fields of a task of a project."""
    work = TaskWriter(write).update(
        task_id,
        changes,
        user_id=caller.user_id,
        project_id=project_id,
        condition=condition,
        notify=options.notify,
    )
    return await answer_write(write, work, role=Role.EDITOR)


@project_router.delete("/{task_id}", status_code=204, responses=_DELETE)
async def delete_project_task(
    caller: TasksWriter, project_id: ProjectId, task_id: TaskId, write: Writing, condition: Condition
) -> NoContent:
    """Delete a task of a project with its comments."""
    work = TaskWriter(write).delete(task_id, user_id=caller.user_id, project_id=project_id, condition=condition)
    return await answer_removal(write, work)
