"""Routes that count tasks."""

from typing import Annotated

from fastapi import Query

from taskmanager.accounts.dependencies import TasksReader
from taskmanager.http.answers import JsonAnswer
from taskmanager.http.dependencies import AppReads
from taskmanager.http.problems import problems
from taskmanager.http.routing import api_router
from taskmanager.projects.repository import ProjectReader
from taskmanager.projects.routes import ProjectId
from taskmanager.tasks.counting.repository import TaskCountReader
from taskmanager.tasks.counting.schemas import ProjectTaskCountQuery, TaskCountQuery, TaskCounts

router = api_router("", tag="tasks")


@router.get("/tasks/counts", response_model=TaskCounts, responses=problems(400, 401, 403, 422, 429, 503))
async def count_tasks(caller: TasksReader, query: Annotated[TaskCountQuery, Query()], reads: AppReads) -> JsonAnswer:
    """Return how many tasks of all the caller's projects there are of each kind.

    `by` says what makes a kind: the status, project, assignee, priority, section, time that it is due, or tag.
    """
    counts = await TaskCountReader(reads).read(query, user_id=caller.user_id, project_ids=query.project_id)
    return JsonAnswer(counts.body)


@router.get(
    "/projects/{project_id}/tasks/counts",
    response_model=TaskCounts,
    responses=problems(400, 401, 403, 404, 422, 429, 503),
)
async def count_project_tasks(
    caller: TasksReader, project_id: ProjectId, query: Annotated[ProjectTaskCountQuery, Query()], reads: AppReads
) -> JsonAnswer:
    """Return how many tasks of a project there are of each kind, as `by` says."""
    counts = await TaskCountReader(reads).read(query, user_id=caller.user_id, project_ids=[project_id])
    if not counts.total:
        await ProjectReader(reads).find_version(project_id, user_id=caller.user_id)
    return JsonAnswer(counts.body)
