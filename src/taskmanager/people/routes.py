"""Routes of people, as others see them."""

from typing import Annotated

from fastapi import Path, Query

from taskmanager.accounts.dependencies import TasksReader
from taskmanager.events.schemas import Person
from taskmanager.field_types import WrittenId
from taskmanager.http.answers import JsonAnswer
from taskmanager.http.dependencies import AppReads
from taskmanager.http.problems import problems
from taskmanager.http.routing import api_router
from taskmanager.people.repository import PersonReader
from taskmanager.people.schemas import PeopleQuery, PersonList

PersonId = Annotated[WrittenId, Path()]

router = api_router("/users", tag="people")


@router.get("", response_model=PersonList, responses=problems(400, 401, 403, 422, 429, 503))
async def list_people(caller: TasksReader, query: Annotated[PeopleQuery, Query()], reads: AppReads) -> JsonAnswer:
    """Return people in the order in which they are asked for; those whom the caller may not see are left out."""
    people = await PersonReader(reads).list_those(query.id, user_id=caller.user_id)
    return JsonAnswer(b'{"users":[%b]}' % people)


@router.get("/{user_id}", response_model=Person, responses=problems(400, 401, 403, 404, 422, 429, 503))
async def read_person(caller: TasksReader, user_id: PersonId, reads: AppReads) -> JsonAnswer:
    """Return a member of one of the caller's projects, or a person who has created tasks or written comments there."""
    return JsonAnswer(await PersonReader(reads).find(user_id, user_id=caller.user_id))
