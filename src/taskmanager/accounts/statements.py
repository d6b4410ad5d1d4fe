"""The pieces of SQL by which every request's login is checked, and users are found by name."""


def folded_name(name: str) -> str:
    """Return SQL for a user name without its case, the same in databases of every locale; it has a unique index."""
    return f"lower({name} COLLATE pg_c_utf8)"


def good_session(session_id: str, user_id: str) -> str:
    """Return the FROM and WHERE of a user `u` by a login that is neither revoked nor of a disabled user."""
    return (
        f"FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = {session_id} AND s.user_id = {user_id}"
        " AND s.revoked_at IS NULL AND NOT u.disabled"
    )


# Whether the login of a row `k` of a shared write holds, or its caller has been looked up already.
GOOD_LOGIN_OF_KEY = f"(k.session_id IS NULL OR (SELECT true {good_session('k.session_id', 'k.user_id')}))"
