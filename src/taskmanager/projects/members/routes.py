"""Routes of the members of a project."""

from typing import Annotated

from fastapi import Path, Response

from taskmanager.accounts.dependencies import ProjectsReader, ProjectsWriter
from taskmanager.field_types import WrittenId
from taskmanager.http.answers import JsonAnswer
from taskmanager.http.dependencies import AppReads, IdempotentTransaction, PageOf, Paging, Transaction
from taskmanager.http.problems import problems
from taskmanager.http.routing import API_PREFIX, api_router
from taskmanager.projects.members.repository import MemberReader, MemberWriter
from taskmanager.projects.roles import Role
from taskmanager.projects.routes import ProjectId
from taskmanager.projects.schemas import MemberCreate, MemberList, MemberRead, MemberUpdate

UserId = Annotated[WrittenId, Path()]

router = api_router("/projects/{project_id}/members", tag="projects")


@router.get("", response_model=MemberList, responses=problems(400, 401, 403, 404, 422, 429, 503))
async def list_members(
    caller: ProjectsReader, project_id: ProjectId, query: PageOf, reads: AppReads, paging: Paging
) -> JsonAnswer:
    """Return the members of a project, longest-standing first."""
    binding = f"members {project_id} {caller.user_id}"
    page = paging.start(query, binding)
    found = await MemberReader(reads).list_page(project_id, page, caller_id=caller.user_id)
    return paging.answer("members", found, query.limit, binding)


@router.post("", status_code=201, responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503))
async def add_member(
    caller: ProjectsWriter, project_id: ProjectId, new: MemberCreate, write: IdempotentTransaction, response: Response
) -> MemberRead:
    """Make somebody a member, by user name or e-mail address; owners only."""
    member = await MemberWriter(write.session).add(project_id, new, caller_id=caller.user_id)
    write.allow_replay(project_id, Role.OWNER)
    response.headers["Location"] = f"{API_PREFIX}/projects/{project_id}/members/{member.user_id}"
    return member


@router.get("/{user_id}", response_model=MemberRead, responses=problems(401, 403, 404, 422, 429, 503))
async def read_member(caller: ProjectsReader, project_id: ProjectId, user_id: UserId, reads: AppReads) -> JsonAnswer:
    """Return a member of a project."""
    return JsonAnswer(await MemberReader(reads).find(project_id, user_id, caller_id=caller.user_id))


@router.put("/{user_id}", responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503))
async def change_role(
    caller: ProjectsWriter, project_id: ProjectId, user_id: UserId, change: MemberUpdate, transaction: Transaction
) -> MemberRead:
    """Give a member another role; owners only, and one owner always stays."""
    members = MemberWriter(transaction)
    locked = await members.lock(project_id, user_id, caller_id=caller.user_id)
    if change.role != Role.OWNER:
        locked.require_remaining_owner(user_id)
    return await members.change_role(project_id, user_id, change.role, caller_id=caller.user_id)


@router.delete("/{user_id}", status_code=204, responses=problems(401, 403, 404, 409, 422, 429, 503))
async def remove_member(
    caller: ProjectsWriter, project_id: ProjectId, user_id: UserId, transaction: Transaction
) -> None:
    """Remove a member, or leave; their tasks lose their assignee, and one owner always stays."""
    members = MemberWriter(transaction)
    locked = await members.lock(project_id, user_id, caller_id=caller.user_id, may_be_oneself=True)
    locked.require_remaining_owner(user_id)
    await members.remove(project_id, user_id, caller_id=caller.user_id)
