"""Routes of many tasks together: up to 100, of one project, all or nothing."""

from typing import Annotated

from fastapi import Query

from taskmanager.accounts.dependencies import TasksWriter, Writing
from taskmanager.http.answers import JsonAnswer, NoContent, answer_removal, answer_write
from taskmanager.http.dependencies import AppSettings
from taskmanager.http.problems import problems
from taskmanager.http.routing import api_router
from taskmanager.roles import Role
from taskmanager.tasks.bulk.repository import BulkTaskWriter
from taskmanager.tasks.bulk.schemas import BulkCreate, BulkDelete, BulkResult, BulkUpdate

router = api_router("/tasks/bulk", tag="tasks")


@router.post(
    "", status_code=201, response_model=BulkResult, responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503)
)
async def create_tasks(caller: TasksWriter, new: BulkCreate, write: Writing) -> JsonAnswer:
    """Create up to 100 tasks in one project, or none."""
    work = BulkTaskWriter(write).create(new.tasks, user_id=caller.user_id, project_id=new.tasks[0].project_id)
    return await answer_write(write, work, status=201, role=Role.EDITOR)


@router.patch(
    "", response_model=BulkResult, responses=problems(400, 401, 403, 404, 409, 412, 413, 415, 422, 428, 429, 503)
)
async def update_tasks(caller: TasksWriter, changes: BulkUpdate, write: Writing, settings: AppSettings) -> JsonAnswer:
    """Set the same fields on up to 100 tasks of one project, or on none."""
    work = BulkTaskWriter(write).update(
        changes.task_ids,
        changes.versions,
        changes.set,
        user_id=caller.user_id,
        require_versions=settings.require_if_match,
        named_in=("body", "tasks" if changes.ids is None else "ids"),
    )
    return await answer_write(write, work, role=Role.EDITOR)


@router.delete("", status_code=204, responses=problems(400, 401, 403, 404, 409, 422, 429, 503))
async def delete_tasks(caller: TasksWriter, which: Annotated[BulkDelete, Query()], write: Writing) -> NoContent:
    """Delete up to 100 tasks of one project, or none."""
    work = BulkTaskWriter(write).delete(which.id, user_id=caller.user_id, named_in=("query", "id"))
    return await answer_removal(write, work)
