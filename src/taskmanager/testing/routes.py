"""Routes for the tests of clients; only an ephemeral instance has them."""

import json
import secrets

from taskmanager.accounts.dependencies import Anyone, AppPasswordHasher, AppTokenSigner, AppWrites
from taskmanager.accounts.password.rules import check_password
from taskmanager.accounts.schemas import UserRead
from taskmanager.accounts.tokens import RefreshClaims
from taskmanager.http.answers import JsonAnswer, json_answer
from taskmanager.http.dependencies import AppSettings
from taskmanager.http.problems import problems
from taskmanager.http.routing import plain_router
from taskmanager.testing.dependencies import AppEpochs, AppFollowers, AppRateLimiter, AppResetWriter
from taskmanager.testing.repository import create_logged_in
from taskmanager.testing.schemas import DisposableUser, DisposableUserCreate

_MADE_UP = DisposableUserCreate()

router = plain_router("/testing", tag="testing")


@router.post("/reset", status_code=204, responses=problems(422, 429, 503))
async def reset(
    _: Anyone,
    tables: AppResetWriter,
    writes: AppWrites,
    limiter: AppRateLimiter,
    epochs: AppEpochs,
    followers: AppFollowers,
) -> None:
    """Delete everything; ids go on, and clients that follow the event log are sent to load everything anew."""
    await tables.reset(writes)
    limiter.forget()
    await epochs.look()
    followers.wake_all()


@router.post(
    "/users", status_code=201, response_model=DisposableUser, responses=problems(400, 409, 413, 415, 422, 429, 503)
)
async def create_user(
    _: Anyone,
    settings: AppSettings,
    hasher: AppPasswordHasher,
    signer: AppTokenSigner,
    writes: AppWrites,
    new: DisposableUserCreate = _MADE_UP,
) -> JsonAnswer:
    """Create a user who is logged in; what is left out of the body is made up."""
    username = new.username or f"user_{secrets.token_hex(6)}"
    email = new.email or f"{username.lower()}@example.com"
    password = (
        new.password.get_secret_value() if new.password else secrets.token_urlsafe(settings.password_min_characters)
    )
    check_password(
        password, field="password", min_characters=settings.password_min_characters, username=username, email=email
    )
    user, session_id = await create_logged_in(
        writes, username=username, email=email, password_hash=await hasher.hash(password), is_admin=new.is_admin
    )
    seconds = new.access_token_seconds or signer.access_token_seconds
    return json_answer(
        DisposableUser(
            access_token=signer.access_token(user.id, session_id, seconds=seconds),
            expires_in=seconds,
            refresh_token=signer.refresh_token(RefreshClaims(session_id, 0)),
            user=UserRead.model_validate(json.loads(user.body)),
            password=password,
        ),
        status=201,
    )
