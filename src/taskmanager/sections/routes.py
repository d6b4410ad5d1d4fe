"""Routes of sections, under their project."""

from functools import partial
from typing import Annotated

from fastapi import Path, Response

from taskmanager.accounts.dependencies import TasksReader, TasksWriter, Writing
from taskmanager.field_types import WrittenId
from taskmanager.http.answers import JsonAnswer, NoContent, answer_removal, answer_write
from taskmanager.http.dependencies import AppReads, Condition, Known
from taskmanager.http.problems import problems
from taskmanager.http.routing import API_PREFIX, api_router
from taskmanager.ordering.schemas import Place
from taskmanager.projects.routes import ProjectId
from taskmanager.roles import Role
from taskmanager.sections.repository import SectionReader, SectionWriter
from taskmanager.sections.schemas import SectionCreate, SectionList, SectionRead, SectionUpdate

SectionId = Annotated[WrittenId, Path()]

_CREATE = problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503)
_UPDATE = problems(400, 401, 403, 404, 409, 412, 413, 415, 422, 428, 429, 503)

router = api_router("/projects/{project_id}/sections", tag="sections")


@router.get("", response_model=SectionList, responses=problems(400, 401, 403, 404, 422, 429, 503))
async def list_sections(caller: TasksReader, project_id: ProjectId, reads: AppReads) -> JsonAnswer:
    """Return all sections of a project, 50 at most, in their order."""
    sections = await SectionReader(reads).list_all(project_id, user_id=caller.user_id)
    return JsonAnswer(b'{"sections":[%b]}' % sections)


@router.post("", status_code=201, response_model=SectionRead, responses=_CREATE)
async def create_section(caller: TasksWriter, project_id: ProjectId, new: SectionCreate, write: Writing) -> JsonAnswer:
    """Create a section behind the others; editors and owners may."""
    work = SectionWriter(write).create(project_id, new, user_id=caller.user_id)
    location = f"{API_PREFIX}/projects/{project_id}/sections/"
    return await answer_write(write, work, status=201, location=location, role=Role.EDITOR)


@router.get("/{section_id}", response_model=SectionRead, responses=problems(304, 400, 401, 403, 404, 422, 429, 503))
async def read_section(
    caller: TasksReader, project_id: ProjectId, section_id: SectionId, reads: AppReads, known: Known
) -> Response:
    """Return a section; with If-None-Match only if it is not the version that the client has."""
    sections = SectionReader(reads)
    return await known.answer(
        partial(sections.find, section_id, project_id=project_id, user_id=caller.user_id),
        partial(sections.find_version, section_id, project_id=project_id, user_id=caller.user_id),
    )


@router.put("/{section_id}", response_model=SectionRead, responses=_UPDATE)
@router.patch("/{section_id}", response_model=SectionRead, responses=_UPDATE)
async def update_section(
    caller: TasksWriter,
    project_id: ProjectId,
    section_id: SectionId,
    changes: SectionUpdate,
    write: Writing,
    condition: Condition,
) -> JsonAnswer:
    """Rename a section."""
    work = SectionWriter(write).update(
        section_id, changes, project_id=project_id, user_id=caller.user_id, condition=condition
    )
    return await answer_write(write, work, role=Role.EDITOR)


@router.post("/{section_id}/move", response_model=SectionRead, responses=_UPDATE)
async def move_section(
    caller: TasksWriter,
    project_id: ProjectId,
    section_id: SectionId,
    place: Place,
    write: Writing,
    condition: Condition,
) -> JsonAnswer:
    """Put a section before or after another one, or to an end."""
    work = SectionWriter(write).move(
        section_id, place, project_id=project_id, user_id=caller.user_id, condition=condition
    )
    return await answer_write(write, work, role=Role.EDITOR)


@router.delete("/{section_id}", status_code=204, responses=problems(400, 401, 403, 404, 409, 412, 422, 428, 429, 503))
async def delete_section(
    caller: TasksWriter, project_id: ProjectId, section_id: SectionId, write: Writing, condition: Condition
) -> NoContent:
    """Delete a section; its tasks stay, without a section."""
    work = SectionWriter(write).delete(section_id, project_id=project_id, user_id=caller.user_id, condition=condition)
    return await answer_removal(write, work)
