"""The one form in which names and addresses of accounts are stored, and looked for."""

from typing import Final

from email_validator import EmailNotValidError, validate_email

from taskmanager.written_text import compose, trim

LONGEST_EMAIL: Final = 255
# Behind a domain it makes that of a closed network one that the library takes; it is taken off again.
_PUBLIC: Final = ".com"


def normal_username(text: str) -> str:
    """Return a user name as it is looked for; PostgreSQL folds its case."""
    return trim(compose(text))


def normal_email(text: str) -> str:
    """Return an e-mail address as it is stored: in lower case, an internationalised domain in its own script.

    Its form is checked, not whether the domain exists. Domains of closed networks, such as localhost, are taken: no
    mail is ever sent.

    Raises:
        ValueError: It is not an address; the message says why.
    """
    try:
        found = validate_email(normal_username(text) + _PUBLIC, check_deliverability=False).normalized
    except EmailNotValidError as error:
        raise ValueError(str(error)) from None
    email = compose(found.removesuffix(_PUBLIC).lower())
    if len(email) > LONGEST_EMAIL:
        raise ValueError(f"has more than {LONGEST_EMAIL} characters in lower case")
    return email


def find_email(text: str) -> str:
    """Return an e-mail address as it would be stored, or what can only be nobody's address as it is."""
    try:
        return normal_email(text)
    except ValueError:
        return normal_username(text).lower()
