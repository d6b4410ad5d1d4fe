"""Which passwords are accepted (NIST SP 800-63B, section 3.1.1.2): length and a block list, no rules of composition."""

from functools import cache
from importlib.resources import files
from unicodedata import normalize

from taskmanager.errors import InvalidValueError

MAX_CHARACTERS = 128
# No text that is longer becomes a password of MAX_CHARACTERS: at most a few characters are composed into one.
_LONGEST_WRITTEN = 10 * MAX_CHARACTERS


def normal_password(password: str) -> str:
    """Return a password in the form in which it is hashed, which does not depend on the system that it is typed on.

    It is Unicode's normalisation form KC (NIST SP 800-63B, section 3.1.1.2); nothing is trimmed.
    """
    if password.isascii() or len(password) > _LONGEST_WRITTEN:
        return password
    return normalize("NFKC", password)


@cache
def _common_passwords() -> frozenset[str]:
    # The 20,000 most common passwords of public leaks, as Django ships them (BSD licence), from 8 characters up.
    return frozenset(files(__package__).joinpath("common_passwords.txt").read_text("utf-8").splitlines())


def check_password(password: str, *, field: str, min_characters: int, username: str, email: str) -> None:
    """Check a new password of an account; `field` names it in the request's body.

    Raises:
        InvalidValueError: It is too short or too long, very common, or the account's own name or address.
    """
    password = normal_password(password)
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
