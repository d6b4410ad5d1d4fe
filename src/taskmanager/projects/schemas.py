"""What project routes take and answer."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from taskmanager.accounts.names import find_email
from taskmanager.field_types import (
    INCLUDED,
    UNCHANGED,
    FreeText,
    Line,
    RequestModel,
    ResponseModel,
    Timestamp,
    exactly_one_of,
)
from taskmanager.http.pagination import PageQuery
from taskmanager.people.schemas import People
from taskmanager.roles import Role


class Archived(StrEnum):
    """Which projects a list is about: those that are not archived, those that are, or all."""

    FALSE = "false"
    TRUE = "true"
    ANY = "any"

    @property
    def wanted(self) -> bool | None:
        """What `projects.archived` has to be; None if it may be either."""
        return None if self is Archived.ANY else self is Archived.TRUE

    @property
    def in_binding(self) -> str:
        """What the cursors of a list are bound to beside its other filters.

        Nothing by default, so that the cursors from before there was a choice are still good.
        """
        return "" if self is Archived.FALSE else f" archived={self}"


ProjectName = Annotated[str, Line(100)]
ProjectDescription = Annotated[str, FreeText(2000)]


class ProjectCreate(RequestModel):
    """A new project."""

    name: ProjectName
    description: ProjectDescription | None = None


class ProjectQuery(PageQuery):
    """Which projects to list."""

    archived: Archived = Field(default=Archived.ANY, description="Only those that are archived, or only the others.")


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

    model_config = ConfigDict(json_schema_extra=exactly_one_of(username="MemberByUsername", email="MemberByEmail"))

    username: Annotated[str, Line(255)] | None = Field(default=None, examples=["alan"])
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
    display_name: str | None = Field(description="What to show; null for the user name.")
    role: Role
    created_at: Timestamp = Field(description="When the person became a member.")
    version: int = Field(description="Goes on where it ended if the person is removed and added again.")


class MemberAnswer(MemberRead):
    """A member of a project, with what else the request asks for."""

    people: People = INCLUDED


class MemberList(ResponseModel):
    """The members of a project, longest-standing first."""

    members: list[MemberRead]
    people: People = INCLUDED
    next_cursor: str | None = None


class ProjectList(ResponseModel):
    """Projects, oldest first."""

    projects: list[ProjectRead]
    next_cursor: str | None = None
