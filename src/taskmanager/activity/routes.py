"""Routes of what happened, from the event log."""

from taskmanager.accounts.dependencies import ProjectsReader, TasksReader
from taskmanager.accounts.scopes import Scope
from taskmanager.activity.repository import ActivityReader
from taskmanager.activity.schemas import EventList
from taskmanager.http.answers import JsonAnswer
from taskmanager.http.dependencies import AppReads, Paging
from taskmanager.http.problems import problems
from taskmanager.http.routing import api_router
from taskmanager.people.dependencies import IncludePageOf
from taskmanager.projects.routes import ProjectId
from taskmanager.tasks.routes import TaskId

router = api_router("", tag="activity")

_ANSWERS = problems(400, 401, 403, 404, 422, 429, 503)


@router.get("/tasks/{task_id}/activity", response_model=EventList, responses=_ANSWERS)
async def list_task_activity(
    caller: TasksReader, task_id: TaskId, query: IncludePageOf, reads: AppReads, paging: Paging
) -> JsonAnswer:
    """Return what happened to a task in the project that it is in, newest first."""
    binding = f"task activity {task_id} {caller.user_id}"
    after = paging.signer.read(query.cursor, binding) if query.cursor else None
    found = await ActivityReader(reads).of_task(
        task_id, user_id=caller.user_id, limit=query.limit, after=after, with_people=query.with_people
    )
    return paging.answer("events", found, query.limit, binding)


@router.get("/projects/{project_id}/activity", response_model=EventList, responses=_ANSWERS)
async def list_project_activity(
    caller: ProjectsReader, project_id: ProjectId, query: IncludePageOf, reads: AppReads, paging: Paging
) -> JsonAnswer:
    """Return what happened in a project, newest first; without the scope `tasks:read` only of it and its members."""
    with_tasks = caller.may(Scope.TASKS_READ)
    binding = f"project activity by era {project_id} {with_tasks} {caller.user_id}"
    after = paging.signer.read(query.cursor, binding) if query.cursor else None
    found = await ActivityReader(reads).of_project(
        project_id,
        user_id=caller.user_id,
        limit=query.limit,
        after=after,
        with_tasks=with_tasks,
        with_people=query.with_people,
    )
    return paging.answer("events", found, query.limit, binding)
