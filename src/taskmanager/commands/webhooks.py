"""`taskmanager webhooks resume`: lets a restored or copied database call others again."""

import asyncio

import typer

from taskmanager.commands.refusals import read_settings, refuse, require_database
from taskmanager.database.database import Database, SchemaError
from taskmanager.database.driver_errors import DATABASE_ERRORS
from taskmanager.database.failures import describe_failure
from taskmanager.database.writes import open_writes
from taskmanager.database_settings import DatabaseSettings
from taskmanager.webhooks.resuming import resume_all


def resume() -> None:
    """Send webhooks from this database, from now on, that are paused because it was restored or copied.

    Do so only where it takes the place of the database that they were sent from. What happened before stays unsent.
    """
    settings = read_settings(DatabaseSettings)
    require_database(settings)
    try:
        resumed = asyncio.run(_resume(settings))
    except SchemaError as error:
        refuse(str(error))
    except DATABASE_ERRORS as error:
        refuse(describe_failure(error))
    typer.echo(f"{resumed} webhooks resumed: they are sent what happens from now on.")


async def _resume(settings: DatabaseSettings) -> int:
    database = Database(settings)
    try:
        await database.check_schema()
    finally:
        await database.dispose()
    async with open_writes(settings) as writes:
        return await resume_all(writes)
