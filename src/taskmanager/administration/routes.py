"""Routes of administration: with an administrator's API key of scope `admin`, or the key of the settings."""

from typing import Annotated

from fastapi import Path

from taskmanager.accounts.dependencies import Administrator
from taskmanager.accounts.schemas import UserRead
from taskmanager.administration.repository import AdministrationReader, AdministrationWriter
from taskmanager.administration.schemas import Done, UserList
from taskmanager.field_types import WrittenId
from taskmanager.http.answers import JsonAnswer
from taskmanager.http.dependencies import AppDatabase, AppReads, PageOf, Paging, Transaction
from taskmanager.http.problems import problems
from taskmanager.http.routing import api_router

UserId = Annotated[WrittenId, Path()]

router = api_router("/admin", tag="administration")


@router.get("/users", response_model=UserList, responses=problems(400, 401, 403, 422, 429, 503))
async def list_users(_: Administrator, query: PageOf, reads: AppReads, paging: Paging) -> JsonAnswer:
    """Return all accounts, oldest first."""
    binding = "users"
    page = paging.start(query, binding)
    found = await AdministrationReader(reads).list_page(page)
    return paging.answer("users", found, query.limit, binding)


@router.post("/users/{user_id}/disable", responses=problems(401, 403, 404, 422, 429, 503))
async def disable_user(_: Administrator, user_id: UserId, transaction: Transaction) -> UserRead:
    """Shut an account out: its logins and keys fail from the next request on."""
    return await AdministrationWriter(transaction).set_disabled(user_id, disabled=True)


@router.post("/users/{user_id}/enable", responses=problems(401, 403, 404, 422, 429, 503))
async def enable_user(_: Administrator, user_id: UserId, transaction: Transaction) -> UserRead:
    """Let an account in again."""
    return await AdministrationWriter(transaction).set_disabled(user_id, disabled=False)


@router.delete("/clear-tasks", responses=problems(401, 403, 422, 429, 503))
async def clear_tasks(administrator: Administrator, database: AppDatabase) -> Done:
    """Delete all tasks of all projects."""
    async with database.long_transaction() as transaction:
        await AdministrationWriter(transaction).clear_tasks(actor_id=administrator)
    return Done(message="All tasks deleted")
