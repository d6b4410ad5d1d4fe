"""Looks at the server, its schema, its clock and its room for connections."""

import time
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from taskmanager.accounts.tokens import CLOCK_LEEWAY_SECONDS
from taskmanager.commands.doctor.findings import Finding, is_this_machine, ok, problem, warning
from taskmanager.commands.doctor.pooler import examine_pooler
from taskmanager.commands.doctor.texts import examine_locale, examine_texts
from taskmanager.commands.doctor.transactions import examine_transactions
from taskmanager.commands.doctor.webhooks import examine_webhooks
from taskmanager.database.checks import MINIMUM_SERVER_VERSION, DatabaseState, read_state
from taskmanager.database.database import SCHEMA_REVISION, Base, Database, SchemaError
from taskmanager.database.driver_errors import DATABASE_ERRORS
from taskmanager.database.failures import describe_failure
from taskmanager.database.poolers import PoolerMode
from taskmanager.database.pools import ALONE_CONNECTIONS, BATCH_CONNECTIONS, SHARED_CONNECTIONS
from taskmanager.database_settings import DatabaseSettings
from taskmanager.libpq.address import read_address
from taskmanager.settings import Settings

# Besides its pool: one connection each for /readyz, for long deletions and for the rate limits.
_BESIDE_POOL = 3
_PINGS = 5
_SLOW_PING_MS = 5.0
_CLOCK_WARNING_SECONDS = 1.0
# The clocks of two machines that are both this close to the database's differ by no more than tokens allow for.
_CLOCK_PROBLEM_SECONDS = CLOCK_LEEWAY_SECONDS / 2
_LIMITS = text("""
    SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
             - current_setting('reserved_connections')::int AS server,
           (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS role,
           (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS database,
           (SELECT count(*) FROM pg_stat_activity
             WHERE datid IS NOT NULL
               AND application_name IS DISTINCT FROM current_setting('application_name')) AS others
""")
_OFF = text("""
    SELECT name FROM pg_settings
    WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off' ORDER BY name
""")


async def examine_database(settings: DatabaseSettings, workers: int) -> list[Finding]:
    """Look at the server, its schema, its clock and its room for the connections of this many processes."""
    if settings.database_url is None:
        return [problem("DATABASE_URL is not set")]
    address = read_address(settings.database_url)
    database = Database(settings, checks_settings=False)
    findings: list[Finding] = []
    try:
        async with database.reader() as session:
            findings.append(await _server(session, str(address)))
            state = await read_state(session, Base.metadata)
            if state.version < MINIMUM_SERVER_VERSION:  # what follows asks for what older ones do not know
                return [*findings, *(problem(str(fault)) for fault in state.server_faults())]
            findings += await examine_pooler(session, database, settings)
            needed = workers * _connections_of_worker(settings)
            if database.pooler_mode is PoolerMode.TRANSACTION:
                findings.append(
                    ok(f"connections: {workers} workers open up to {needed}, the pooler has to allow as many clients")
                )
            else:
                findings.append(await _connections(session, needed, workers))
            findings.append(await _clock(session))
            findings += await _durability(session)
            if not all(host.startswith("/") or is_this_machine(host) for host in address.hosts):
                findings.append(await _encryption(session))
            if state.encoding == "UTF8":
                findings += await examine_locale(session)
            findings += await examine_transactions(session)
        findings += await _schema(database, state, settings)
    except DATABASE_ERRORS as error:
        findings.append(problem(f"{describe_failure(error)} ({address})"))
    finally:
        await database.dispose()
    return findings


async def _schema(database: Database, state: DatabaseState, settings: DatabaseSettings) -> list[Finding]:
    faults = [*state.server_faults(), *state.right_faults()]
    if state.has_tables:
        faults += state.extension_faults()
    findings = [problem(str(fault)) for fault in faults]
    try:
        found = await database.check_schema()
    except SchemaError as error:
        return findings if problem(str(error)) in findings else [problem(str(error)), *findings]
    if not findings:
        async with database.reader() as session:
            findings += await examine_texts(session)
            findings += await examine_webhooks(session, settings if isinstance(settings, Settings) else None)
    if found == SCHEMA_REVISION:
        return [ok(f"schema at revision {found}, as this version needs it"), *findings]
    return [warning(f"schema at revision {found}, of a newer version than this one"), *findings]


def _connections_of_worker(settings: DatabaseSettings) -> int:
    shares = not isinstance(settings, Settings) or settings.share_statements
    to_share = SHARED_CONNECTIONS + BATCH_CONNECTIONS if shares else 0
    return settings.database_pool_size + ALONE_CONNECTIONS + _BESIDE_POOL + to_share


async def _server(session: AsyncSession, where: str) -> Finding:
    found = (await session.execute(text("SHOW server_version"))).scalar_one()
    milliseconds = []
    for _ in range(_PINGS):
        started = time.perf_counter()
        await session.execute(text("SELECT 1"))
        milliseconds.append((time.perf_counter() - started) * 1000)
    best = min(milliseconds)
    message = f"PostgreSQL {found} at {where} answers in {best:.1f} ms"
    if best > _SLOW_PING_MS:
        return warning(f"{message}: every request waits for that several times, so bring the two closer together")
    return ok(message)


async def _connections(session: AsyncSession, needed: int, workers: int) -> Finding:
    limits = (await session.execute(_LIMITS)).one()
    room = min(limit for limit in (limits.server, limits.role, limits.database) if limit >= 0)
    message = (
        f"connections: {workers} workers open up to {needed}, there is room for {room}, others hold {limits.others}"
    )
    if needed > room:
        return problem(f"{message}: lower DATABASE_POOL_SIZE or the workers, or raise max_connections")
    if needed + limits.others > room:
        return warning(f"{message}: together they may run out")
    return ok(message)


async def _clock(session: AsyncSession) -> Finding:
    before = datetime.now(UTC)
    there: datetime = (await session.execute(text("SELECT clock_timestamp()"))).scalar_one()
    after = datetime.now(UTC)
    seconds = (there - (before + (after - before) / 2)).total_seconds()
    message = f"clocks: the database's is {abs(seconds):.3f} s {'ahead' if seconds > 0 else 'behind'}"
    if abs(seconds) > _CLOCK_PROBLEM_SECONDS:
        return problem(f"{message}: a login on one machine may be refused by another, run NTP on both")
    return warning(f"{message}: run NTP on both machines") if abs(seconds) > _CLOCK_WARNING_SECONDS else ok(message)


async def _durability(session: AsyncSession) -> list[Finding]:
    off = (await session.execute(_OFF)).scalars().all()
    return [warning(f"{name} is off: what was answered as stored may be lost in a crash") for name in off]


async def _encryption(session: AsyncSession) -> Finding:
    encrypted = await session.execute(text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
    if encrypted.scalar_one():
        return ok("the connection to the database is encrypted")
    return warning("the connection to the database is not encrypted: add ?sslmode=verify-full to DATABASE_URL")
