"""`taskmanager log new-epoch`: what an operator says about the event log that the database cannot know."""

import asyncio

import typer

from taskmanager.commands.refusals import read_database_settings, refuse
from taskmanager.database.database import Database, SchemaError
from taskmanager.database.driver_errors import DATABASE_ERRORS
from taskmanager.database.failures import describe_failure
from taskmanager.database.writes import open_writes
from taskmanager.database_settings import DatabaseSettings
from taskmanager.following.epochs import start_epoch
from taskmanager.webhooks.resuming import pause_all


def new_epoch() -> None:
    """Start a new epoch of the event log, after rows of another time were put into this database.

    Clients then load everything anew, and webhooks are paused until `taskmanager webhooks resume`. A dump that is
    restored into another server or database, and a standby that is promoted, are noticed without it; a snapshot, a
    branch and a restore into the same database are not.
    """
    settings = read_database_settings(DatabaseSettings)
    try:
        paused = asyncio.run(_new_epoch(settings))
    except SchemaError as error:
        refuse(str(error))
    except DATABASE_ERRORS as error:
        refuse(describe_failure(error))
    typer.echo("A new epoch of the event log has started: clients load everything anew.")
    if paused:
        typer.echo(f"{paused} webhooks are paused: `taskmanager webhooks resume` starts them.")


async def _new_epoch(settings: DatabaseSettings) -> int:
    database = Database(settings)
    try:
        await database.check_schema()
    finally:
        await database.dispose()
    async with open_writes(settings) as writes:
        # A copy must not call the receivers of the original, and this may be one.
        paused = await pause_all(writes)
        await start_epoch(writes)
        return paused
