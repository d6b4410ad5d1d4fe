"""The route that changes a password."""

from taskmanager.accounts.dependencies import AccountOwner, AppPasswordHasher, AppWrites, Attempts
from taskmanager.accounts.login import credentials
from taskmanager.accounts.schemas import PasswordChange
from taskmanager.http.dependencies import AppReads, AppSettings
from taskmanager.http.problems import problems
from taskmanager.http.routing import api_router

router = api_router("", tag="accounts")


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
