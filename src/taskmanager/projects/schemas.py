"""What project routes take and answer."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from taskmanager.accounts.names import find_email
from taskmanager.field_types import UNCHANGED, FreeText, Line, RequestModel, ResponseModel, Timestamp
from taskmanager.roles import Role

ProjectName = Annotated[str, Line(100)]
ProjectDescription = Annotated[str, FreeText(2000)]


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


class MemberCreate(RequestModel):
    """A person to add, by user name or by e-mail address, and their role."""

    username: Annotated[str, Line(255)] | None = None
    email: Annotated[str, Line(255), AfterValidator(find_email)] | None = None
    role: Role

    @model_validator(mode="after")
    def _require_one_name(self) -> Self:
        if (self.username is None) == (self.email is None):
            raise ValueError("give either username or email")
        return self


class MemberUpdate(RequestModel):
    """A member's new role."""

    role: Role


class MemberRead(ResponseModel):
    """A member of a project."""

    user_id: int
    username: str
    role: Role
    created_at: Timestamp = Field(description="When the person became a member.")


class MemberList(ResponseModel):
    """The members of a project, longest-standing first."""

    members: list[MemberRead]
    next_cursor: str | None = None


class ProjectList(ResponseModel):
    """Projects, oldest first."""

    projects: list[ProjectRead]
    next_cursor: str | None = None
