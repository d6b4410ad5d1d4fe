"""Looks for transactions that keep those who follow the event log from what is behind them."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from taskmanager.commands.doctor.findings import Finding, warning

# The oldest transaction that has written, of any database of the server.
_OLDEST = text("""
    SELECT a.pid, a.datname AS database, a.application_name AS application, a.usename AS role,
           CAST(EXTRACT(epoch FROM clock_timestamp() - a.xact_start) AS double precision) AS age
    FROM pg_stat_activity a
    WHERE a.backend_xid IS NOT NULL ORDER BY age(a.backend_xid) DESC LIMIT 1
""")
_PREPARED = text("""
    SELECT gid, database, CAST(EXTRACT(epoch FROM clock_timestamp() - prepared) AS double precision) AS age
    FROM pg_prepared_xacts ORDER BY prepared LIMIT 1
""")
_LONG_SECONDS = 10.0
_HOLDS_UP = "holds up those who follow the event log"


async def examine_transactions(session: AsyncSession) -> list[Finding]:
    """Name the oldest transactions, if they are old."""
    findings = []
    oldest = (await session.execute(_OLDEST)).one_or_none()
    # How old a transaction of another role is, only monitors learn (pg_monitor).
    if oldest is not None and oldest.age is not None and oldest.age >= _LONG_SECONDS:
        findings.append(
            warning(
                f"a transaction {oldest.age:.0f} s old {_HOLDS_UP}: process {oldest.pid} of {oldest.role} "
                f"({oldest.application or 'no name'}) in {oldest.database}; "
                f"SELECT pg_terminate_backend({oldest.pid}) ends it"
            )
        )
    prepared = (await session.execute(_PREPARED)).one_or_none()
    if prepared is not None and prepared.age >= _LONG_SECONDS:
        findings.append(
            warning(
                f"a prepared transaction {prepared.age:.0f} s old {_HOLDS_UP}: {prepared.gid!r} in "
                f"{prepared.database}; "
                "ROLLBACK PREPARED or COMMIT PREPARED ends it"
            )
        )
    return findings
