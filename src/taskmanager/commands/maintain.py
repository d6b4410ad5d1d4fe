"""`taskmanager maintain`: does the work of the background once, for cron and for functions that sleep in between."""

import asyncio

import typer

from taskmanager.commands.refusals import read_database_settings, refuse
from taskmanager.database.database import Database, SchemaError
from taskmanager.database.driver_errors import DATABASE_ERRORS
from taskmanager.database.failures import describe_failure
from taskmanager.database.writes import open_writes
from taskmanager.settings import Settings

_FAILED = 1


def maintain() -> None:
    """Run each job of the background to its end once, as the service does at intervals."""
    settings = read_database_settings(Settings)
    try:
        failed = asyncio.run(_maintain(settings))
    except SchemaError as error:
        refuse(str(error))
    except DATABASE_ERRORS as error:
        refuse(describe_failure(error))
    if failed:
        refuse(*failed, code=_FAILED)


async def _maintain(settings: Settings) -> list[str]:
    """Print a line for each job that ended, and return one for each that failed."""
    # Slow to import, and they import the metrics, for which `serve` makes a folder first.
    from taskmanager.features import jobs_of  # noqa: PLC0415
    from taskmanager.main import FEATURES  # noqa: PLC0415
    from taskmanager.maintenance.maintenance import JobBusyError, Maintenance  # noqa: PLC0415

    database = Database(settings)
    try:
        await database.check_schema()
    finally:
        await database.dispose()
    failed = []
    async with open_writes(settings) as writes:
        maintenance = Maintenance(jobs_of(FEATURES), writes, settings)
        for tally in maintenance.tallies:
            try:
                await maintenance.run_once(tally)
            except JobBusyError:
                failed.append(f"{tally.job.name}: another process is at it")
            except DATABASE_ERRORS as error:
                failed.append(f"{tally.job.name}: {describe_failure(error)}")
            else:
                typer.echo(f"{tally.job.name}: {tally.rows} rows")
    return failed
