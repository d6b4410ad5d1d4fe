"""The route that deletes an account."""

from taskmanager.accounts.dependencies import AccountOwner, AppPasswordHasher, AppWrites, Attempts
from taskmanager.accounts.login import credentials
from taskmanager.accounts.schemas import PasswordConfirmation
from taskmanager.http.dependencies import AppReads
from taskmanager.http.problems import problems
from taskmanager.http.routing import api_router

router = api_router("", tag="accounts")


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
