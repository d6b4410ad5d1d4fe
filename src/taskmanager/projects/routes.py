"""Routes of projects."""

from functools import partial
from typing import Annotated

from fastapi import Path, Query, Response

from taskmanager.accounts.dependencies import ProjectsReader, ProjectsWriter, Writing
from taskmanager.field_types import WrittenId
from taskmanager.http.answers import JsonAnswer, NoContent, answer_removal, answer_write
from taskmanager.http.dependencies import AppReads, Condition, Known, Paging
from taskmanager.http.problems import problems
from taskmanager.http.routing import API_PREFIX, api_router
from taskmanager.projects.repository import ProjectReader, ProjectWriter
from taskmanager.projects.schemas import Archived, ProjectCreate, ProjectList, ProjectQuery, ProjectRead, ProjectUpdate
from taskmanager.roles import Role

ProjectId = Annotated[WrittenId, Path()]

_CREATE = problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503)
_UPDATE = problems(400, 401, 403, 404, 409, 412, 413, 415, 422, 428, 429, 503)

router = api_router("/projects", tag="projects")


@router.get("", response_model=ProjectList, responses=problems(400, 401, 403, 422, 429, 503))
async def list_projects(
    caller: ProjectsReader, query: Annotated[ProjectQuery, Query()], reads: AppReads, paging: Paging
) -> JsonAnswer:
    """Return the projects of the caller, archived ones included, oldest first; the first is the Inbox."""
    chosen = "" if query.archived is Archived.ANY else f" archived={query.archived}"
    binding = f"projects {caller.user_id}{chosen}"
    page = paging.start(query, binding)
    found = await ProjectReader(reads).list_page(page, user_id=caller.user_id, archived=query.archived.wanted)
    return paging.answer("projects", found, query.limit, binding)


# 404: the answer to a key that was used before, whose project the caller may not see any more.
@router.post(
    "",
    status_code=201,
    response_model=ProjectRead,
    responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
)
async def create_project(caller: ProjectsWriter, new: ProjectCreate, write: Writing) -> JsonAnswer:
    """Create a project with the caller as its owner."""
    work = ProjectWriter(write).create(new, user_id=caller.user_id)
    return await answer_write(write, work, status=201, location=f"{API_PREFIX}/projects/", role=Role.VIEWER)


@router.get("/{project_id}", response_model=ProjectRead, responses=problems(304, 400, 401, 403, 404, 422, 429, 503))
async def read_project(caller: ProjectsReader, project_id: ProjectId, reads: AppReads, known: Known) -> Response:
    """Return a project; with If-None-Match only if it is not the version that the client has."""
    projects = ProjectReader(reads)
    return await known.answer(
        partial(projects.find, project_id, user_id=caller.user_id),
        partial(projects.find_version, project_id, user_id=caller.user_id),
    )


@router.put("/{project_id}", response_model=ProjectRead, responses=_UPDATE)
@router.patch("/{project_id}", response_model=ProjectRead, responses=_UPDATE)
async def update_project(
    caller: ProjectsWriter, project_id: ProjectId, changes: ProjectUpdate, write: Writing, condition: Condition
) -> JsonAnswer:
    """Rename, describe, archive or bring back a project; owners only."""
    work = ProjectWriter(write).update(project_id, changes, user_id=caller.user_id, condition=condition)
    return await answer_write(write, work, role=Role.OWNER)


@router.delete("/{project_id}", status_code=204, responses=problems(400, 401, 403, 404, 409, 412, 422, 428, 429, 503))
async def delete_project(
    caller: ProjectsWriter, project_id: ProjectId, write: Writing, condition: Condition
) -> NoContent:
    """Delete a project with its tasks, comments and history; owners only."""
    work = ProjectWriter(write).delete(project_id, user_id=caller.user_id, condition=condition)
    return await answer_removal(write, work)
