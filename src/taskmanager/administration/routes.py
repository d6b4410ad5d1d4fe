"""Routes of administration: with an administrator's API key of scope `admin`, or the key of the settings."""

from typing import Annotated

from fastapi import Path

from taskmanager.accounts.dependencies import Administrator, Writing
from taskmanager.accounts.schemas import UserRead
from taskmanager.administration.repository import AdministrationReader, AdministrationWriter
from taskmanager.administration.schemas import Done, UserList
from taskmanager.field_types import WrittenId
from taskmanager.http.answers import JsonAnswer, answer_write
from taskmanager.http.dependencies import AppReads, PageOf, Paging
from taskmanager.http.problems import problems
from taskmanager.http.routing import api_router

UserId = Annotated[WrittenId, Path()]

_SWITCH = problems(400, 401, 403, 404, 409, 422, 429, 503)

router = api_router("/admin", tag="administration")


@router.get("/users", response_model=UserList, responses=problems(400, 401, 403, 422, 429, 503))
async def list_users(_: Administrator, query: PageOf, reads: AppReads, paging: Paging) -> JsonAnswer:
    """Return all accounts, oldest first."""
    binding = "users"
    page = paging.start(query, binding)
    found = await AdministrationReader(reads).list_page(page)
    return paging.answer("users", found, query.limit, binding)


@router.post("/users/{user_id}/disable", response_model=UserRead, responses=_SWITCH)
async def disable_user(administrator: Administrator, user_id: UserId, write: Writing) -> JsonAnswer:
    """Shut an account out: its logins and keys fail from the next request on."""
    work = AdministrationWriter(write).set_disabled(user_id, disabled=True, user_id=administrator)
    return await answer_write(write, work)


@router.post("/users/{user_id}/enable", response_model=UserRead, responses=_SWITCH)
async def enable_user(administrator: Administrator, user_id: UserId, write: Writing) -> JsonAnswer:
    """Let an account in again."""
    work = AdministrationWriter(write).set_disabled(user_id, disabled=False, user_id=administrator)
    return await answer_write(write, work)


@router.delete("/clear-tasks", response_model=Done, responses=problems(400, 401, 403, 409, 422, 429, 503))
async def clear_tasks(administrator: Administrator, write: Writing) -> JsonAnswer:
    """Delete all tasks of all projects."""
    return await answer_write(write, AdministrationWriter(write).clear_tasks(user_id=administrator))
