"""`taskmanager doctor`: looks at everything that a start needs and that goes wrong in practice."""

import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from ipaddress import ip_address
from urllib.parse import urlsplit

from pydantic import SecretStr
from sqlalchemy import make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from taskmanager.accounts.tokens import CLOCK_LEEWAY_SECONDS
from taskmanager.database.checks import MINIMUM_SERVER_VERSION, DatabaseState, read_state
from taskmanager.database.database import (
    ALONE_CONNECTIONS,
    SCHEMA_REVISION,
    SHARED_CONNECTIONS,
    Base,
    Database,
    ReadSession,
    SchemaError,
)
from taskmanager.database.failures import describe_failure
from taskmanager.settings import DatabaseSettings, Settings

# Those whose versions one is asked for first.
_PACKAGES = ("taskmanager", "fastapi", "starlette", "uvicorn", "pydantic", "sqlalchemy", "asyncpg")
_ACCELERATORS = ("uvloop", "httptools")
# Besides its pool: one connection each for /readyz, for long deletions and for the rate limits.
_BESIDE_POOL = 3
_PINGS = 5
_SLOW_PING_MS = 5.0
_CLOCK_WARNING_SECONDS = 1.0
# The clocks of two machines that are both this close to the database's differ by no more than tokens allow for.
_CLOCK_PROBLEM_SECONDS = CLOCK_LEEWAY_SECONDS / 2
_FEWEST_DIFFERENT_CHARACTERS = 10
_LIMITS = text("""
    SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
             - current_setting('reserved_connections')::int AS server,
           (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS role,
           (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS database,
           (SELECT count(*) FROM pg_stat_activity
             WHERE datid IS NOT NULL AND application_name IS DISTINCT FROM 'taskmanager') AS others
""")
_OFF = text("""
    SELECT name FROM pg_settings
    WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off' ORDER BY name
""")
# What the search and the order of names depend on, in the locale of the database.
_FOLDS_CASE = text("SELECT lower('\u00dc') = '\u00fc'")


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One line of the report; never holds a secret."""

    level: Level
    message: str

    def __str__(self) -> str:
        return f"{self.level:<8} {self.message}"


def _ok(message: str) -> Finding:
    return Finding(Level.OK, message)


def _warning(message: str) -> Finding:
    return Finding(Level.WARNING, message)


def _problem(message: str) -> Finding:
    return Finding(Level.PROBLEM, message)


def examine_installation() -> Iterator[Finding]:
    """Look at Python and the packages."""
    yield _ok(f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    yield _ok("packages: " + ", ".join(f"{name} {version(name)}" for name in _PACKAGES))
    for name in _ACCELERATORS:
        try:
            version(name)
        except PackageNotFoundError:
            yield _warning(f"{name} is not installed: requests take longer than they need to")


def examine_settings(settings: Settings) -> Iterator[Finding]:
    """Look at what was configured, as far as that alone can tell."""
    yield from _secrets(settings)
    yield from _origins(settings)
    yield _listening(settings)
    if settings.debug:
        yield _warning("DEBUG is on: the log is for people, not for machines, and slower")
    if settings.database_statement_timeout_ms >= settings.database_command_timeout_seconds * 1000:
        yield _warning(
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
            yield _problem(f"{message}, the same as {other}: each needs its own")
        elif len(set(secret)) < _FEWEST_DIFFERENT_CHARACTERS:
            yield _warning(f"{message}, but of few different characters: openssl rand -hex 32 makes a good one")
        elif name == "secret_key_previous":
            yield _ok(f"{message}; remove it {settings.refresh_token_days} days after SECRET_KEY was changed")
        else:
            yield _ok(message)
        seen.setdefault(secret, shown)
    absent = {
        "secret_key_previous": "no secret is being rotated out",
        "api_key": "administration takes keys of administrators only",
        "metrics_token": "there is no /metrics",
    }
    yield from (_ok(f"{name.upper()} is not set: {message}") for name, message in absent.items() if name not in given)


def _origins(settings: Settings) -> Iterator[Finding]:
    plain = []
    for origin in settings.allowed_origins:
        parts = urlsplit(origin)
        if origin == "*":
            yield _warning("ALLOWED_ORIGINS: any site may call the API, without the credentials of its visitors")
        elif (
            parts.scheme not in {"http", "https"} or not parts.hostname or origin != f"{parts.scheme}://{parts.netloc}"
        ):
            yield _problem(f"ALLOWED_ORIGINS: no browser sends {origin!r}; it must look like https://app.example.com")
        elif parts.scheme == "http" and not _is_this_machine(parts.hostname):
            yield _warning(f"ALLOWED_ORIGINS: {origin} is not encrypted, so others can speak in its name")
        else:
            plain.append(origin)
    if plain:
        credentials = "with" if settings.cors_allow_credentials else "without"
        yield _ok(f"ALLOWED_ORIGINS: {', '.join(plain)}, {credentials} credentials")
    if not settings.allowed_origins:
        yield _ok("ALLOWED_ORIGINS: none, so no site of another origin may call the API")


def _listening(settings: Settings) -> Finding:
    address = f"{settings.host or '*'}:{settings.port}"
    if settings.host and _is_this_machine(settings.host):
        return _ok(f"listening address {address}: this machine only")
    return _warning(f"listening address {address}: make sure that others come through a proxy with TLS")


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


async def examine_database(settings: DatabaseSettings, workers: int) -> list[Finding]:
    """Look at the server, its schema, its clock and its room for the connections of this many processes."""
    if settings.database_url is None:
        return [_problem("DATABASE_URL is not set")]
    try:
        url = make_url(settings.database_url)
    except (ArgumentError, ValueError):
        url = None
    # An unescaped @ or / moves the rest of the password to where the host is read.
    if url is None or "@" in f"{url.host}{url.database}":
        return [
            _problem("DATABASE_URL cannot be read: special characters in the password must be written as %40 and so on")
        ]
    where = f"{url.host or url.query.get('host') or 'localhost'}:{url.port or 5432}/{url.database or ''}"
    database = Database(settings)
    findings: list[Finding] = []
    try:
        async with database.reader() as session:
            findings.append(await _server(session, where))
            state = await read_state(session, Base.metadata)
            if state.version < MINIMUM_SERVER_VERSION:  # what follows asks for what older ones do not know
                return [*findings, *(_problem(str(fault)) for fault in state.server_faults())]
            findings.append(await _connections(session, workers * _connections_of_worker(settings), workers))
            findings.append(await _clock(session))
            findings += await _durability(session)
            if url.host and not _is_this_machine(url.host):
                findings.append(await _encryption(session))
            findings += await _text(session, state)
        findings += await _schema(database, state)
    except (DBAPIError, OSError) as error:
        findings.append(_problem(f"{describe_failure(error)} ({where})"))
    finally:
        await database.dispose()
    return findings


async def _text(session: ReadSession, state: DatabaseState) -> list[Finding]:
    if state.encoding != "UTF8" or (await session.execute(_FOLDS_CASE)).scalar_one():
        return []
    return [
        _warning("the locale of the database folds the case of ASCII letters only: a search for \u00fc misses \u00dc")
    ]


async def _schema(database: Database, state: DatabaseState) -> list[Finding]:
    faults = [*state.server_faults(), *state.right_faults()]
    if state.has_tables:
        faults += state.extension_faults()
    findings = [_problem(str(fault)) for fault in faults]
    try:
        found = await database.check_schema()
    except SchemaError as error:
        return findings if _problem(str(error)) in findings else [_problem(str(error)), *findings]
    if found == SCHEMA_REVISION:
        return [_ok(f"schema at revision {found}, as this version needs it"), *findings]
    return [_warning(f"schema at revision {found}, of a newer version than this one"), *findings]


def _connections_of_worker(settings: DatabaseSettings) -> int:
    shares = not isinstance(settings, Settings) or settings.share_statements
    return settings.database_pool_size + ALONE_CONNECTIONS + _BESIDE_POOL + (SHARED_CONNECTIONS if shares else 0)


async def _server(session: ReadSession, where: str) -> Finding:
    found = (await session.execute(text("SHOW server_version"))).scalar_one()
    milliseconds = []
    for _ in range(_PINGS):
        started = time.perf_counter()
        await session.execute(text("SELECT 1"))
        milliseconds.append((time.perf_counter() - started) * 1000)
    best = min(milliseconds)
    message = f"PostgreSQL {found} at {where} answers in {best:.1f} ms"
    if best > _SLOW_PING_MS:
        return _warning(f"{message}: every request waits for that several times, so bring the two closer together")
    return _ok(message)


async def _connections(session: ReadSession, needed: int, workers: int) -> Finding:
    limits = (await session.execute(_LIMITS)).one()
    room = min(limit for limit in (limits.server, limits.role, limits.database) if limit >= 0)
    message = (
        f"connections: {workers} workers open up to {needed}, there is room for {room}, others hold {limits.others}"
    )
    if needed > room:
        return _problem(f"{message}: lower DATABASE_POOL_SIZE or the workers, or raise max_connections")
    if needed + limits.others > room:
        return _warning(f"{message}: together they may run out")
    return _ok(message)


async def _clock(session: ReadSession) -> Finding:
    before = datetime.now(UTC)
    there: datetime = (await session.execute(text("SELECT clock_timestamp()"))).scalar_one()
    after = datetime.now(UTC)
    seconds = (there - (before + (after - before) / 2)).total_seconds()
    message = f"clocks: the database's is {abs(seconds):.3f} s {'ahead' if seconds > 0 else 'behind'}"
    if abs(seconds) > _CLOCK_PROBLEM_SECONDS:
        return _problem(f"{message}: a login on one machine may be refused by another, run NTP on both")
    return _warning(f"{message}: run NTP on both machines") if abs(seconds) > _CLOCK_WARNING_SECONDS else _ok(message)


async def _durability(session: ReadSession) -> list[Finding]:
    off = (await session.execute(_OFF)).scalars().all()
    return [_warning(f"{name} is off: what was answered as stored may be lost in a crash") for name in off]


async def _encryption(session: ReadSession) -> Finding:
    encrypted = await session.execute(text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
    if encrypted.scalar_one():
        return _ok("the connection to the database is encrypted")
    return _warning("the connection to the database is not encrypted: add ?sslmode=verify-full to DATABASE_URL")
