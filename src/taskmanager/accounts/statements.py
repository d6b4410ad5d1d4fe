"""The piece of SQL by which every request's login is checked."""


def good_session(session_id: str, user_id: str) -> str:
    """Return the FROM and WHERE of a user `u` by a login that is neither revoked nor of a disabled user."""
    return (
        f"FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = {session_id} AND s.user_id = {user_id}"
        " AND s.revoked_at IS NULL AND NOT u.disabled"
    )
