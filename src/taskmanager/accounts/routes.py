"""Routes of accounts, logins and API keys."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Path, Request, Response

from taskmanager.accounts.api_key.repository import ApiKeyReader, ApiKeyWriter, StoredApiKey
from taskmanager.accounts.api_key.written_keys import PREFIX, hash_secret, new_secret, write_key
from taskmanager.accounts.callers import AccountCaller
from taskmanager.accounts.dependencies import (
    AccountOwner,
    AccountUser,
    Anyone,
    AppPasswordHasher,
    AppTokenSigner,
    AppWrites,
    Attempts,
    CurrentUser,
    LoginForm,
    UnkeptWriting,
    UserAgent,
    Writing,
)
from taskmanager.accounts.login import credentials, login
from taskmanager.accounts.password.rules import check_password
from taskmanager.accounts.repository import AccountWriter
from taskmanager.accounts.schemas import (
    ApiKeyCreate,
    ApiKeyCreated,
    ApiKeyList,
    PasswordChange,
    PasswordConfirmation,
    RefreshToken,
    SessionList,
    Token,
    UserCreate,
    UserRead,
    UserUpdate,
)
from taskmanager.accounts.scopes import Scope
from taskmanager.accounts.sessions.repository import SessionReader, SessionWriter
from taskmanager.errors import AdministratorOnlyError, ScopeMissingError
from taskmanager.field_types import WrittenId
from taskmanager.http.answers import JsonAnswer, NoContent, answer_removal, answer_write, json_answer
from taskmanager.http.dependencies import AppReads, AppSettings, PageOf, Paging
from taskmanager.http.problems import problems
from taskmanager.http.routing import StrictRoute, api_router

SessionId = Annotated[WrittenId, Path()]
KeyId = Annotated[WrittenId, Path()]

_READ = problems(400, 401, 403, 422, 429, 503)
_DELETE = problems(400, 401, 403, 404, 409, 422, 429, 503)

router = api_router("", tag="accounts")


@router.post("/users", status_code=201, response_model=UserRead, responses=problems(400, 409, 413, 415, 422, 429, 503))
async def register(
    _: Anyone, new: UserCreate, settings: AppSettings, hasher: AppPasswordHasher, writes: AppWrites
) -> JsonAnswer:
    """Create an account, with a personal project called Inbox."""
    password = new.password.get_secret_value()
    check_password(
        password,
        field="password",
        min_characters=settings.password_min_characters,
        username=new.username,
        email=new.email,
    )
    async with hasher.turn():
        password_hash = await hasher.hash(password)
    user = await AccountWriter(writes).create(username=new.username, email=new.email, password_hash=password_hash)
    return JsonAnswer(user.body, status=201)


class LoginRoute(StrictRoute):
    """A route whose requests start one by one, before their bodies are read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Let each request wait at the entrance."""
        handle = super().get_route_handler()

        async def handle_in_turn(request: Request) -> Response:
            await request.app.state.password_hasher.enter()
            return await handle(request)

        return handle_in_turn


async def create_token(
    _: Anyone,
    form: LoginForm,
    attempts: Attempts,
    user_agent: UserAgent,
    reads: AppReads,
    writes: AppWrites,
    hasher: AppPasswordHasher,
    signer: AppTokenSigner,
) -> Token:
    """Log in with user name and password (OAuth2 password grant); the access token goes into `Authorization`."""
    async with attempts.log_in(form.username):
        return await login.log_in(
            username=form.username,
            password=form.password,
            user_agent=user_agent,
            reads=reads,
            writes=writes,
            hasher=hasher,
            signer=signer,
        )


router.add_api_route(
    "/token",
    create_token,
    methods=["POST"],
    responses=problems(400, 401, 413, 415, 422, 429, 503),
    route_class_override=LoginRoute,
)


@router.post("/token/refresh", responses=problems(400, 401, 413, 415, 422, 429, 503))
async def refresh_token(
    _: Anyone, given: RefreshToken, writes: AppWrites, signer: AppTokenSigner, settings: AppSettings
) -> Token:
    """Exchange a refresh token for new tokens; a token that was spent before ends its login."""
    return await login.refresh(given.refresh_token, writes=writes, signer=signer, idle_days=settings.refresh_token_days)


@router.post("/token/revoke", status_code=204, responses=problems(400, 413, 415, 422, 429, 503))
async def revoke_token(_: Anyone, given: RefreshToken, writes: AppWrites, signer: AppTokenSigner) -> None:
    """Log out; the answer is the same whether or not the token was good."""
    await login.log_out(given.refresh_token, writes=writes, signer=signer)


@router.get("/users/me", response_model=UserRead, responses=problems(401, 422, 429, 503))
async def read_me(caller: CurrentUser) -> JsonAnswer:
    """Return the caller's account."""
    return json_answer(UserRead.model_validate(caller.account, from_attributes=True))


@router.patch("/users/me", response_model=UserRead, responses=problems(400, 401, 403, 409, 413, 415, 422, 429, 503))
async def update_me(caller: AccountUser, changes: UserUpdate, write: Writing) -> JsonAnswer:
    """Change the caller's user name or e-mail address."""
    work = AccountWriter(write).update(user_id=caller.user_id, username=changes.username, email=changes.email)
    return await answer_write(write, work)


@router.post("/users/me/password", status_code=204, responses=problems(400, 401, 403, 413, 415, 422, 429, 503))
async def change_password(
    caller: AccountOwner,
    change: PasswordChange,
    attempts: Attempts,
    settings: AppSettings,
    reads: AppReads,
    writes: AppWrites,
    hasher: AppPasswordHasher,
) -> None:
    """Change the caller's password and end all their other logins."""
    async with attempts.confirm(caller.user_id):
        await credentials.change_password(
            caller.account,
            change,
            session_id=caller.session_id,
            min_characters=settings.password_min_characters,
            reads=reads,
            writes=writes,
            hasher=hasher,
        )


@router.post("/users/me/delete", status_code=204, responses=problems(400, 401, 403, 409, 413, 415, 422, 429, 503))
async def delete_me(
    caller: AccountOwner,
    confirmation: PasswordConfirmation,
    attempts: Attempts,
    reads: AppReads,
    writes: AppWrites,
    hasher: AppPasswordHasher,
) -> None:
    """Delete the caller's account for good; projects shared with others must have another owner before."""
    async with attempts.confirm(caller.user_id):
        await credentials.delete_account(
            caller.user_id, confirmation.password, reads=reads, writes=writes, hasher=hasher
        )


@router.get("/users/me/sessions", response_model=SessionList, responses=_READ)
async def list_sessions(
    caller: AccountUser, query: PageOf, reads: AppReads, paging: Paging, settings: AppSettings
) -> JsonAnswer:
    """Return the caller's logins, newest first."""
    binding = f"sessions {caller.user_id}"
    page = paging.start(query, binding)
    found = await SessionReader(reads).list_page(
        page, user_id=caller.user_id, current_id=caller.session_id, idle_days=settings.refresh_token_days
    )
    return paging.answer("sessions", found, query.limit, binding)


@router.delete("/users/me/sessions/{session_id}", status_code=204, responses=_DELETE)
async def revoke_session(caller: AccountUser, session_id: SessionId, write: Writing) -> NoContent:
    """End one of the caller's logins."""
    return await answer_removal(write, SessionWriter(write).revoke(session_id, user_id=caller.user_id))


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
