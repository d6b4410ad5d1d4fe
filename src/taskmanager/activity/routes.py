"""Routes of what happened, from the event log."""

from fastapi import APIRouter

from taskmanager.accounts.dependencies import ProjectsReader, TasksReader
from taskmanager.accounts.scopes import Scope
from taskmanager.activity.repository import ActivityReader
from taskmanager.activity.schemas import EventList, EventRead
from taskmanager.dependencies import PageOf, Pager, Paging, Reader
from taskmanager.pagination import PageQuery
from taskmanager.problems import problems
from taskmanager.projects.repository import ProjectReader
from taskmanager.projects.routes import ProjectId
from taskmanager.routing import StrictRoute
from taskmanager.tasks.repository import TaskReader
from taskmanager.tasks.routes import TaskId

router = APIRouter(route_class=StrictRoute, tags=["activity"])

_ANSWERS = problems(400, 401, 403, 404, 422, 429, 503)


def _page(rows: list[tuple[EventRead, tuple[int, int]]], query: PageQuery, paging: Pager, binding: str) -> EventList:
    shown = rows[: query.limit]
    cursor = paging.signer.write(shown[-1][1], binding) if len(rows) > len(shown) else None
    return EventList(events=[event for event, _ in shown], next_cursor=paging.link(cursor))


@router.get("/tasks/{task_id}/activity", responses=_ANSWERS)
async def list_task_activity(
    caller: TasksReader, task_id: TaskId, query: PageOf, reader: Reader, paging: Paging
) -> EventList:
    """Return what happened to a task in the project that it is in, newest first."""
    binding = f"task activity {task_id} {caller.user_id}"
    after = paging.signer.read(query.cursor, binding) if query.cursor else None
    rows = await ActivityReader(reader).of_task(task_id, user_id=caller.user_id, limit=query.limit + 1, after=after)
    if not rows:
        await TaskReader(reader).find_version(task_id, user_id=caller.user_id)
    return _page(rows, query, paging, binding)


@router.get("/projects/{project_id}/activity", responses=_ANSWERS)
async def list_project_activity(
    caller: ProjectsReader, project_id: ProjectId, query: PageOf, reader: Reader, paging: Paging
) -> EventList:
    """Return what happened in a project, newest first; tasks and comments only to who may read tasks."""
    with_tasks = caller.may(Scope.TASKS_READ)
    binding = f"project activity {project_id} {with_tasks} {caller.user_id}"
    after = paging.signer.read(query.cursor, binding) if query.cursor else None
    rows = await ActivityReader(reader).of_project(
        project_id, user_id=caller.user_id, limit=query.limit + 1, after=after, with_tasks=with_tasks
    )
    if not rows:
        await ProjectReader(reader).find_version(project_id, user_id=caller.user_id)
    return _page(rows, query, paging, binding)
