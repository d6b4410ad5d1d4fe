"""What project routes take and answer."""

from typing import Annotated

from pydantic import Field, StringConstraints

from taskmanager.field_types import UNCHANGED, FreeText, Line, RequestModel, ResponseModel, Timestamp
from taskmanager.projects.roles import Role

ProjectName = Annotated[Line, StringConstraints(max_length=100)]
ProjectDescription = Annotated[FreeText, StringConstraints(max_length=2000)]


class ProjectCreate(RequestModel):
    """A new project."""

    name: ProjectName
    description: ProjectDescription | None = None


class ProjectUpdate(RequestModel):
    """Changes to a project; what is left out stays as it is."""

    name: ProjectName = UNCHANGED
    description: ProjectDescription | None = None
    archived: Annotated[bool, Field(strict=True)] = UNCHANGED


class ProjectRead(ResponseModel):
    """A project, as one of its members sees it."""

    id: int
    name: str
    description: str | None
    archived: bool
    personal: bool = Field(description="True for the caller's own Inbox.")
    role: Role = Field(description="The caller's role.")
    created_at: Timestamp
    updated_at: Timestamp
    version: int


class ProjectList(ResponseModel):
    """Projects, oldest first."""

    projects: list[ProjectRead]
    next_cursor: str | None = None
