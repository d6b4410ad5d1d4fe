"""Routes of API keys."""

from datetime import datetime
from typing import Annotated

from fastapi import Path

from taskmanager.accounts.api_key.repository import ApiKeyReader, ApiKeyWriter, StoredApiKey
from taskmanager.accounts.api_key.written_keys import PREFIX, hash_secret, new_secret, write_key
from taskmanager.accounts.callers import AccountCaller
from taskmanager.accounts.dependencies import AccountOwner, AccountUser, UnkeptWriting, Writing
from taskmanager.accounts.schemas import ApiKeyCreate, ApiKeyCreated, ApiKeyList
from taskmanager.accounts.scopes import Scope
from taskmanager.errors import AdministratorOnlyError, InvalidValueError, ScopeMissingError
from taskmanager.field_types import WrittenId
from taskmanager.http.answers import JsonAnswer, NoContent, answer_removal
from taskmanager.http.dependencies import AppReads, PageOf, Paging
from taskmanager.http.problems import problems
from taskmanager.http.routing import api_router

KeyId = Annotated[WrittenId, Path()]

_ENDS_TOO_LATE = "must be the end of the key that makes this one, or before it; log in for one that lasts longer"
_READ = problems(400, 401, 403, 422, 429, 503)
_DELETE = problems(400, 401, 403, 404, 409, 422, 429, 503)

router = api_router("", tag="accounts")


def _answer_created(key: StoredApiKey, written: str) -> JsonAnswer:
    created = ApiKeyCreated(
        id=key.id,
        name=key.name,
        prefix=f"{PREFIX}{key.id}_",
        scopes=[Scope(scope) for scope in key.scopes],
        expires_at=key.expires_at,
        created_at=key.created_at,
        last_used_at=key.last_used_at,
        key=written,
    )
    return JsonAnswer(created.model_dump_json().encode(), status=201)


def _require_grantable(caller: AccountCaller, scopes: list[Scope]) -> None:
    for scope in scopes:
        # A key must not create a stronger one; a login may grant what its user may do.
        if caller.scopes is not None and not caller.may(scope):
            raise ScopeMissingError(scope)
    if Scope.ADMIN in scopes and not caller.account.is_admin:
        raise AdministratorOnlyError


def _require_end_in_time(caller: AccountCaller, expires_at: datetime | None) -> None:
    # Else a key that ends would not: it could make its own successor for ever. A login has no fixed end.
    if caller.key_expires_at is not None and (expires_at is None or expires_at > caller.key_expires_at):
        raise InvalidValueError(("body", "expires_at"), _ENDS_TOO_LATE)


@router.get("/users/me/api-keys", response_model=ApiKeyList, responses=_READ)
async def list_api_keys(caller: AccountUser, query: PageOf, reads: AppReads, paging: Paging) -> JsonAnswer:
    """Return the caller's API keys, newest first, without their secrets."""
    binding = f"api-keys {caller.user_id}"
    page = paging.start(query, binding)
    found = await ApiKeyReader(reads).list_page(page, user_id=caller.user_id)
    return paging.answer("api_keys", found, query.limit, binding)


@router.post(
    "/users/me/api-keys",
    status_code=201,
    response_model=ApiKeyCreated,
    responses=problems(400, 401, 403, 413, 415, 422, 429, 503),
)
async def create_api_key(caller: AccountOwner, new: ApiKeyCreate, write: UnkeptWriting) -> JsonAnswer:
    """Create an API key; it is shown in this answer and never again."""
    scopes = sorted(set(new.scopes))
    _require_grantable(caller, scopes)
    _require_end_in_time(caller, new.expires_at)
    secret = new_secret()
    stored = await ApiKeyWriter(write).create(
        user_id=caller.user_id,
        name=new.name,
        secret_hash=hash_secret(secret),
        scopes=scopes,
        expires_at=new.expires_at,
    )
    return _answer_created(stored, write_key(stored.id, secret))


@router.delete("/users/me/api-keys/{key_id}", status_code=204, responses=_DELETE)
async def delete_api_key(caller: AccountUser, key_id: KeyId, write: Writing) -> NoContent:
    """Revoke an API key."""
    return await answer_removal(write, ApiKeyWriter(write).delete(key_id, user_id=caller.user_id))
