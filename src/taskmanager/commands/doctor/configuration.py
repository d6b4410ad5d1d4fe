"""Looks at Python, the packages and the settings, without a database."""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

from pydantic import SecretStr

from taskmanager.commands.doctor.findings import Finding, is_this_machine, ok, problem, warning
from taskmanager.settings import Settings

# The packages whose versions a report of a fault needs.
_PACKAGES = ("task-manager-api", "fastapi", "starlette", "uvicorn", "pydantic", "sqlalchemy", "asyncpg")
_ACCELERATORS = ("uvloop", "httptools")
_FEWEST_DIFFERENT_CHARACTERS = 10


def examine_installation() -> Iterator[Finding]:
    """Look at Python and the packages."""
    yield ok(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    yield ok("packages: " + ", ".join(f"{name} {version(name)}" for name in _PACKAGES))
    for name in _ACCELERATORS:
        try:
            version(name)
        except PackageNotFoundError:
            yield warning(f"{name} is not installed: requests take longer than they need to")


def examine_settings(settings: Settings) -> Iterator[Finding]:
    """Look at what was configured, as far as that alone shows."""
    yield from _secrets(settings)
    yield from _origins(settings)
    yield _listening(settings)
    if settings.debug:
        yield warning("DEBUG is on: the log is for people, not for machines, and slower")
    if settings.database_statement_timeout_ms >= settings.database_command_timeout_seconds * 1000:
        yield warning(
            "DATABASE_STATEMENT_TIMEOUT_MS is not below DATABASE_COMMAND_TIMEOUT_SECONDS: "
            "a frozen server is noticed later than configured"
        )


def _secrets(settings: Settings) -> Iterator[Finding]:
    given: dict[str, SecretStr] = {
        name: value
        for name in ("secret_key", "secret_key_previous", "api_key", "metrics_token")
        if (value := getattr(settings, name)) is not None
    }
    seen: dict[str, str] = {}
    for name, value in given.items():
        shown, secret = name.upper(), value.get_secret_value()
        message = f"{shown}: {len(secret.encode())} bytes"
        if other := seen.get(secret):
            yield problem(f"{message}, the same as {other}: each needs its own")
        elif len(set(secret)) < _FEWEST_DIFFERENT_CHARACTERS:
            yield warning(f"{message}, but of few different characters: openssl rand -hex 32 makes a good one")
        elif name == "secret_key_previous":
            yield ok(f"{message}; remove it {settings.refresh_token_days} days after SECRET_KEY was changed")
        else:
            yield ok(message)
        seen.setdefault(secret, shown)
    absent = {
        "secret_key_previous": "no secret is being rotated out",
        "api_key": "administration takes keys of administrators only",
        "metrics_token": "there is no /metrics",
    }
    yield from (ok(f"{name.upper()} is not set: {message}") for name, message in absent.items() if name not in given)


def _origins(settings: Settings) -> Iterator[Finding]:
    plain = []
    for origin in settings.allowed_origins:
        parts = urlsplit(origin)
        if origin == "*":
            yield warning("ALLOWED_ORIGINS: any site may call the API, without the credentials of its visitors")
        elif parts.scheme == "http" and not is_this_machine(parts.hostname or ""):
            yield warning(f"ALLOWED_ORIGINS: {origin} is not encrypted, so others can speak in its name")
        else:
            plain.append(origin)
    if plain:
        credentials = "with" if settings.cors_allow_credentials else "without"
        yield ok(f"ALLOWED_ORIGINS: {', '.join(plain)}, {credentials} credentials")
    if not settings.allowed_origins:
        yield ok("ALLOWED_ORIGINS: none, so no site of another origin may call the API")


def _listening(settings: Settings) -> Finding:
    address = f"{settings.host or '*'}:{settings.port}"
    if settings.host and is_this_machine(settings.host):
        return ok(f"listening address {address}: this machine only")
    return warning(f"listening address {address}: make sure that others come through a proxy with TLS")
