"""Routes of projects."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from taskmanager.accounts.dependencies import ProjectsReader, ProjectsWriter
from taskmanager.dependencies import AppDatabase, Reader, Transaction
from taskmanager.field_types import WrittenId
from taskmanager.problems import problems
from taskmanager.projects.repository import ProjectReader, ProjectWriter
from taskmanager.projects.schemas import ProjectCreate, ProjectList, ProjectRead, ProjectUpdate
from taskmanager.routing import StrictRoute

ProjectId = Annotated[WrittenId, Path()]

router = APIRouter(prefix="/projects", route_class=StrictRoute, tags=["projects"])


@router.get("", responses=problems(401, 403, 422, 503))
async def list_projects(caller: ProjectsReader, reader: Reader) -> ProjectList:
    """Return all projects of the caller, oldest first; the first is the Inbox."""
    return ProjectList(projects=await ProjectReader(reader).list_all(user_id=caller.user_id))


@router.post("", status_code=201, responses=problems(400, 401, 403, 413, 415, 422, 503))
async def create_project(
    caller: ProjectsWriter, new: ProjectCreate, transaction: Transaction, response: Response
) -> ProjectRead:
    """Create a project with the caller as its owner."""
    project = await ProjectWriter(transaction).create(new, user_id=caller.user_id)
    response.headers["Location"] = f"/api/v1/projects/{project.id}"
    return project


@router.get("/{project_id}", responses=problems(401, 403, 404, 422, 503))
async def read_project(caller: ProjectsReader, project_id: ProjectId, reader: Reader) -> ProjectRead:
    """Return a project."""
    return await ProjectReader(reader).find(project_id, user_id=caller.user_id)


@router.patch("/{project_id}", responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 503))
async def update_project(
    caller: ProjectsWriter, project_id: ProjectId, changes: ProjectUpdate, transaction: Transaction
) -> ProjectRead:
    """Rename, describe, archive or bring back a project; owners only."""
    return await ProjectWriter(transaction).update(project_id, changes, user_id=caller.user_id)


@router.delete("/{project_id}", status_code=204, responses=problems(401, 403, 404, 409, 422, 503))
async def delete_project(caller: ProjectsWriter, project_id: ProjectId, database: AppDatabase) -> None:
    """Delete a project with its tasks, comments and history; owners only."""
    async with database.long_transaction() as transaction:
        projects = ProjectWriter(transaction)
        await projects.lock_for_deletion(project_id, user_id=caller.user_id)
        await projects.delete(project_id, user_id=caller.user_id)
