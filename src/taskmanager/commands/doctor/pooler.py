"""Looks at the pooler before the server, and at the settings that have to be in force behind it."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from taskmanager.commands.doctor.findings import Finding, ok, problem, warning
from taskmanager.database.database import Database
from taskmanager.database.poolers import PoolerMode
from taskmanager.database.server_settings import IN_FORCE
from taskmanager.database_settings import DatabaseSettings


async def examine_pooler(session: AsyncSession, database: Database, settings: DatabaseSettings) -> list[Finding]:
    """Look at what lies before the server, which the session has found out."""
    mode = database.pooler_mode
    if mode is None or mode is PoolerMode.NONE:
        return []
    findings = [ok(f"a pooler in {mode} mode is before the database")]
    if settings.database_direct_url is None:
        findings.append(warning("DATABASE_DIRECT_URL is not set: `taskmanager migrate` needs the server itself"))
    if mode is PoolerMode.TRANSACTION:
        findings.append(await _role_settings(session, database))
    return findings


async def _role_settings(session: AsyncSession, database: Database) -> Finding:
    found = (await session.execute(text(IN_FORCE))).mappings().one()
    differing = database.role_settings.differences(found)
    if not differing:
        return ok("the settings of the database role are in force behind the pooler")
    fault = database.role_settings.fault(found)
    report = problem if fault else warning
    block = "\n".join(database.role_settings.statements(found))
    return report(
        f"settings of the database role are not as they should be behind the pooler: {', '.join(differing)}; paste "
        f"this into psql, then `RECONNECT;` into the pooler's console\n{block}"
    )
