"""Routes of accounts: registration, and the caller's own."""

from taskmanager.accounts.dependencies import AccountUser, Anyone, AppPasswordHasher, AppWrites, CurrentUser, Writing
from taskmanager.accounts.password.rules import check_password
from taskmanager.accounts.repository import AccountWriter
from taskmanager.accounts.schemas import UserCreate, UserRead, UserUpdate
from taskmanager.http.answers import JsonAnswer, answer_write, json_answer
from taskmanager.http.dependencies import AppSettings
from taskmanager.http.problems import problems
from taskmanager.http.routing import api_router

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


@router.get("/users/me", response_model=UserRead, responses=problems(400, 401, 422, 429, 503))
async def read_me(caller: CurrentUser) -> JsonAnswer:
    """Return the caller's account."""
    return json_answer(UserRead.model_validate(caller.account, from_attributes=True))


@router.patch("/users/me", response_model=UserRead, responses=problems(400, 401, 403, 409, 413, 415, 422, 429, 503))
async def update_me(caller: AccountUser, changes: UserUpdate, write: Writing) -> JsonAnswer:
    """Change the given fields of the caller's account."""
    return await answer_write(write, AccountWriter(write).update(changes, user_id=caller.user_id))
