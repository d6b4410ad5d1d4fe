"""What routes of people take and answer, and how a page names the people in it."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from taskmanager.events.schemas import Person
from taskmanager.field_types import RequestModel, ResponseModel, WrittenId
from taskmanager.http.pagination import ListQuery, PageQuery

MAX_PEOPLE = 100


class PersonList(ResponseModel):
    """People, in the order of the request."""

    users: list[Person] = Field(description="Those who may be seen.")


class PeopleQuery(RequestModel):
    """Ids of people, each as `id=`; those who may not be seen are left out."""

    id: Annotated[list[WrittenId], Field(min_length=1, max_length=MAX_PEOPLE, examples=[[1]])]


class Include(StrEnum):
    """What else an answer shows."""

    PEOPLE = "people"


_DESCRIPTION = "`people`: everybody whom the answer names, by id."
Included = Annotated[list[Include], Field(description=_DESCRIPTION)]
People = Annotated[
    dict[str, Person], Field(description="Everybody whom the answer names, by id; only with `include=people`.")
]


class IncludeQuery(ListQuery):
    """What else to show beside one thing."""

    include: Included = []

    @property
    def with_people(self) -> bool:
        """Whether to show the people who are named."""
        return Include.PEOPLE in self.include


class IncludePageQuery(PageQuery, IncludeQuery):
    """Which page of a list, and what else to show."""
