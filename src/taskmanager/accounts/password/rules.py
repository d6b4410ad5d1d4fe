"""Which passwords are accepted (NIST SP 800-63B, section 3.1.1.2): length and a block list, no rules of composition."""

from functools import cache
from importlib.resources import files

from taskmanager.errors import InvalidValueError

MAX_CHARACTERS = 128


@cache
def _common_passwords() -> frozenset[str]:
    # The 20,000 most common passwords of public leaks, as Django ships them (BSD licence), from 8 characters up.
    return frozenset(files(__package__).joinpath("common_passwords.txt").read_text("utf-8").splitlines())


def check_password(password: str, *, field: str, min_characters: int, username: str, email: str) -> None:
    """Check a new password of an account; `field` names it in the request's body.

    Raises:
        InvalidValueError: It is too short or too long, very common, or the account's own name or address.
    """
    lowered = password.lower()
    reason = None
    if len(password) < min_characters:
        reason = f"must have at least {min_characters} characters"
    elif len(password) > MAX_CHARACTERS:
        reason = f"must have at most {MAX_CHARACTERS} characters"
    elif lowered in {username.lower(), email.lower(), email.partition("@")[0].lower()}:
        reason = "must not be the user name or the e-mail address"
    elif lowered in _common_passwords():
        reason = "is one of the most common passwords"
    if reason:
        raise InvalidValueError(("body", field), reason)
