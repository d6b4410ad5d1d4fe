"""Routes of accounts and logins."""

from fastapi import APIRouter, Response

from taskmanager.accounts.dependencies import (
    Anyone,
    AppPasswordHasher,
    AppTokenSigner,
    CurrentUser,
    LoginForm,
    UserAgent,
)
from taskmanager.accounts.login import log_in
from taskmanager.accounts.repository import AccountWriter
from taskmanager.accounts.schemas import Token, UserCreate, UserRead
from taskmanager.dependencies import AppDatabase, AppSettings, Transaction
from taskmanager.errors import InvalidValueError
from taskmanager.problems import problems
from taskmanager.routing import StrictRoute

router = APIRouter(route_class=StrictRoute, tags=["accounts"])


@router.post("/users", status_code=201, responses=problems(400, 409, 413, 415, 422, 503))
async def register(
    _: Anyone, new: UserCreate, settings: AppSettings, hasher: AppPasswordHasher, transaction: Transaction
) -> UserRead:
    """Create an account, with a personal project called Inbox."""
    password = new.password.get_secret_value()
    if len(password) < settings.password_min_characters:
        raise InvalidValueError(
            ("body", "password"), f"must have at least {settings.password_min_characters} characters"
        )
    password_hash = await hasher.hash(password)
    account = await AccountWriter(transaction).create(
        username=new.username, email=new.email, password_hash=password_hash
    )
    return UserRead.model_validate(account, from_attributes=True)


@router.post("/token", responses=problems(400, 401, 413, 415, 422, 503))
async def create_token(
    _: Anyone,
    form: LoginForm,
    user_agent: UserAgent,
    database: AppDatabase,
    hasher: AppPasswordHasher,
    signer: AppTokenSigner,
    response: Response,
) -> Token:
    """Log in with user name and password (OAuth2 password grant); the access token goes into `Authorization`."""
    token = await log_in(
        username=form.username,
        password=form.password,
        user_agent=user_agent,
        database=database,
        hasher=hasher,
        signer=signer,
    )
    response.headers["Cache-Control"] = "no-store"
    return token


@router.get("/users/me", responses=problems(401, 422, 503))
async def read_me(caller: CurrentUser) -> UserRead:
    """Return the caller's account."""
    return UserRead.model_validate(caller.account, from_attributes=True)
