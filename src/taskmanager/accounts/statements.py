"""The pieces of SQL by which every request's login is checked, and by which an administrator stays."""

from taskmanager.accounts.schemas import UserRead

# What an account shows to its owner.
ACCOUNT_FIELDS = tuple(UserRead.model_fields)
ACCOUNT_COLUMNS = ", ".join(ACCOUNT_FIELDS)


def good_session(session_id: str, user_id: str) -> str:
    """Return the FROM and WHERE of a user `u` by a login that is neither revoked nor of a disabled user."""
    return (
        f"FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = {session_id} AND s.user_id = {user_id}"
        " AND s.revoked_at IS NULL AND NOT u.disabled"
    )


# Whether the login of a request `k` of a shared write holds, or its caller has been looked up already.
LOGIN_OF_REQUEST = f"(k.session_id IS NULL OR (SELECT true {good_session('k.session_id', 'k.user_id')}))"


def administrator_steps(account_id: str) -> str:
    """Return the step `administrators`: the `id` of all who can log in, if the account is one of them.

    They are locked in one order, so that of two who shut each other out the second waits, and then finds itself alone.
    """
    return f"""
administrators AS MATERIALIZED (
    SELECT id FROM users
    WHERE is_admin AND NOT disabled AND EXISTS (SELECT FROM users WHERE id = {account_id} AND is_admin)
    ORDER BY id FOR NO KEY UPDATE
)"""


def is_last_administrator(account_id: str) -> str:
    """Return SQL for whether the account is the only one of `administrators`."""
    return f"(SELECT count(*) = 1 AND bool_and(id = {account_id}) FROM administrators)"
