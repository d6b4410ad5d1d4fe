"""Routes of administration: with an administrator's API key of scope `admin`, or the key of the settings."""

from typing import Annotated

from fastapi import Path

from taskmanager.accounts.dependencies import Administrator, Writing
from taskmanager.accounts.schemas import UserRead
from taskmanager.administration.repository import AdministrationReader, AdministrationWriter
from taskmanager.administration.schemas import Done, OwnerlessProjectList, UserList
from taskmanager.field_types import WrittenId
from taskmanager.http.answers import JsonAnswer, answer_write
from taskmanager.http.dependencies import AppReads, PageOf, Paging
from taskmanager.http.problems import problems
from taskmanager.http.routing import api_router
from taskmanager.projects.routes import ProjectId
from taskmanager.projects.schemas import MemberRead, MemberUpdate

UserId = Annotated[WrittenId, Path()]

_LIST = problems(400, 401, 403, 422, 429, 503)
_SWITCH = problems(400, 401, 403, 404, 409, 422, 429, 503)

router = api_router("/admin", tag="administration")


@router.get("/users", response_model=UserList, responses=_LIST)
async def list_users(_: Administrator, query: PageOf, reads: AppReads, paging: Paging) -> JsonAnswer:
    """Return all accounts, oldest first."""
    binding = "users"
    page = paging.start(query, binding)
    found = await AdministrationReader(reads).list_page(page)
    return paging.answer("users", found, query.limit, binding)


@router.post("/users/{user_id}/disable", response_model=UserRead, responses=_SWITCH)
async def disable_user(administrator: Administrator, user_id: UserId, write: Writing) -> JsonAnswer:
    """Shut an account out: its logins and keys fail from the next request on; one administrator always stays."""
    return await answer_write(write, AdministrationWriter(write, user_id=administrator).disable(user_id))


@router.post("/users/{user_id}/enable", response_model=UserRead, responses=_SWITCH)
async def enable_user(administrator: Administrator, user_id: UserId, write: Writing) -> JsonAnswer:
    """Let an account in again."""
    return await answer_write(write, AdministrationWriter(write, user_id=administrator).enable(user_id))


@router.get("/projects/without-owner", response_model=OwnerlessProjectList, responses=_LIST)
async def list_ownerless_projects(_: Administrator, query: PageOf, reads: AppReads, paging: Paging) -> JsonAnswer:
    """Return the projects none of whose owners can log in, oldest first."""
    binding = "projects without owner"
    page = paging.start(query, binding)
    found = await AdministrationReader(reads).list_ownerless(page)
    return paging.answer("projects", found, query.limit, binding)


@router.put(
    "/projects/{project_id}/members/{user_id}",
    response_model=MemberRead,
    responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
)
async def set_role(
    administrator: Administrator, project_id: ProjectId, user_id: UserId, change: MemberUpdate, write: Writing
) -> JsonAnswer:
    """Give somebody a role in any project, archived ones included, so that it has an owner who can log in again."""
    work = AdministrationWriter(write, user_id=administrator).set_role(project_id, user_id, change.role)
    return await answer_write(write, work)


@router.delete("/clear-tasks", response_model=Done, responses=problems(400, 401, 403, 409, 422, 429, 503))
async def clear_tasks(administrator: Administrator, write: Writing) -> JsonAnswer:
    """Delete all tasks of all projects."""
    return await answer_write(write, AdministrationWriter(write, user_id=administrator).clear_tasks())
