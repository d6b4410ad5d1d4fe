"""Routes of many tasks at once: up to 100, of one project, all or nothing."""

from typing import Annotated

from fastapi import Query

from taskmanager.accounts.dependencies import TasksWriter
from taskmanager.http.dependencies import AppSettings, IdempotentTransaction, Transaction
from taskmanager.http.problems import problems
from taskmanager.http.routing import api_router
from taskmanager.projects.roles import Role
from taskmanager.tasks.bulk.repository import BulkTaskWriter
from taskmanager.tasks.bulk.schemas import BulkCreate, BulkDelete, BulkResult, BulkUpdate

router = api_router("/tasks/bulk", tag="tasks")


@router.post("", status_code=201, responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503))
async def create_tasks(caller: TasksWriter, new: BulkCreate, write: IdempotentTransaction) -> BulkResult:
    """Create up to 100 tasks in one project, or none."""
    tasks = await BulkTaskWriter(write.session).create(
        new.tasks, user_id=caller.user_id, project_id=new.tasks[0].project_id
    )
    write.allow_replay(tasks[0].project_id, Role.EDITOR)
    return BulkResult(tasks=tasks)


@router.patch("", responses=problems(400, 401, 403, 404, 409, 412, 413, 415, 422, 428, 429, 503))
async def update_tasks(
    caller: TasksWriter, changes: BulkUpdate, transaction: Transaction, settings: AppSettings
) -> BulkResult:
    """Set the same fields on up to 100 tasks of one project, or on none."""
    tasks = BulkTaskWriter(transaction)
    project_id = await tasks.lock(
        changes.task_ids,
        changes.versions,
        user_id=caller.user_id,
        require_versions=settings.require_if_match,
        named_in=("body", "tasks" if changes.ids is None else "ids"),
    )
    return BulkResult(
        tasks=await tasks.update(changes.task_ids, changes.set, user_id=caller.user_id, project_id=project_id)
    )


@router.delete("", status_code=204, responses=problems(400, 401, 403, 404, 409, 422, 429, 503))
async def delete_tasks(caller: TasksWriter, which: Annotated[BulkDelete, Query()], transaction: Transaction) -> None:
    """Delete up to 100 tasks of one project, or none."""
    tasks = BulkTaskWriter(transaction)
    versions = [None] * len(which.id)
    project_id = await tasks.lock(
        which.id, versions, user_id=caller.user_id, require_versions=False, named_in=("query", "id")
    )
    await tasks.delete(which.id, user_id=caller.user_id, project_id=project_id)
