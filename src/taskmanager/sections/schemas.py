"""What section routes take and answer."""

from typing import Annotated

from pydantic import Field

from taskmanager.field_types import UNCHANGED, Line, RequestModel, ResponseModel, Timestamp

MOST_SECTIONS = 50
SectionName = Annotated[str, Line(100)]


class SectionCreate(RequestModel):
    """A new section, which comes last."""

    name: SectionName


class SectionUpdate(RequestModel):
    """Changes to a section; what is left out stays as it is."""

    name: SectionName = UNCHANGED


class SectionRead(ResponseModel):
    """A section of a project."""

    id: int
    project_id: int
    name: str
    position: str = Field(description="Sections are in the order of these texts, compared by code point.")
    created_at: Timestamp
    updated_at: Timestamp
    version: int


class SectionList(ResponseModel):
    """All sections of a project, in their order."""

    sections: list[SectionRead] = Field(description="All of them.")
