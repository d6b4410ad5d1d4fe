"""Routes of the members of a project."""

from typing import Annotated

from fastapi import Path

from taskmanager.accounts.dependencies import ProjectsReader, ProjectsWriter, Writing
from taskmanager.field_types import WrittenId
from taskmanager.http.answers import JsonAnswer, NoContent, answer_removal, answer_write
from taskmanager.http.dependencies import AppReads, Paging
from taskmanager.http.problems import problems
from taskmanager.http.routing import API_PREFIX, api_router
from taskmanager.people.dependencies import IncludePageOf, Includes
from taskmanager.projects.members.repository import MemberReader, MemberWriter
from taskmanager.projects.routes import ProjectId
from taskmanager.projects.schemas import MemberAnswer, MemberCreate, MemberList, MemberRead, MemberUpdate
from taskmanager.roles import Role

UserId = Annotated[WrittenId, Path()]

router = api_router("/projects/{project_id}/members", tag="projects")


@router.get("", response_model=MemberList, responses=problems(400, 401, 403, 404, 422, 429, 503))
async def list_members(
    caller: ProjectsReader, project_id: ProjectId, query: IncludePageOf, reads: AppReads, paging: Paging
) -> JsonAnswer:
    """Return the members of a project, longest-standing first."""
    binding = f"members {project_id} {caller.user_id}"
    page = paging.start(query, binding)
    found = await MemberReader(reads).list_page(
        project_id, page, caller_id=caller.user_id, with_people=query.with_people
    )
    return paging.answer("members", found, query.limit, binding)


@router.post(
    "", status_code=201, response_model=MemberRead, responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503)
)
async def add_member(caller: ProjectsWriter, project_id: ProjectId, new: MemberCreate, write: Writing) -> JsonAnswer:
    """Make somebody a member, by user name or e-mail address; owners only."""
    work = MemberWriter(write).add(project_id, new, user_id=caller.user_id)
    return await answer_write(
        write, work, status=201, location=f"{API_PREFIX}/projects/{project_id}/members/", role=Role.OWNER
    )


@router.get("/{user_id}", response_model=MemberAnswer, responses=problems(400, 401, 403, 404, 422, 429, 503))
async def read_member(
    caller: ProjectsReader, project_id: ProjectId, user_id: UserId, query: Includes, reads: AppReads
) -> JsonAnswer:
    """Return a member of a project."""
    members = MemberReader(reads)
    return JsonAnswer(await members.find(project_id, user_id, caller_id=caller.user_id, with_people=query.with_people))


@router.put(
    "/{user_id}", response_model=MemberRead, responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503)
)
async def change_role(
    caller: ProjectsWriter, project_id: ProjectId, user_id: UserId, change: MemberUpdate, write: Writing
) -> JsonAnswer:
    """Give a member another role; owners only, and one owner who can log in always stays."""
    work = MemberWriter(write).change_role(project_id, user_id, change.role, user_id=caller.user_id)
    return await answer_write(write, work, role=Role.VIEWER)


@router.delete("/{user_id}", status_code=204, responses=problems(400, 401, 403, 404, 409, 422, 429, 503))
async def remove_member(caller: ProjectsWriter, project_id: ProjectId, user_id: UserId, write: Writing) -> NoContent:
    """Remove a member, or leave; their tasks lose their assignee, and one owner who can log in always stays."""
    return await answer_removal(write, MemberWriter(write).remove(project_id, user_id, user_id=caller.user_id))
