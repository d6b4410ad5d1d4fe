"""`taskmanager migrate`: brings the schema up to date."""

import typer

from taskmanager.commands.interrupts import ended_by_interrupts
from taskmanager.commands.refusals import read_settings, refuse, require_database
from taskmanager.database.database import SchemaError
from taskmanager.database_settings import DatabaseSettings


def migrate() -> None:
    """Bring the schema at DATABASE_DIRECT_URL, or else at DATABASE_URL, up to date."""
    settings = read_settings(DatabaseSettings)
    if settings.database_direct_url is None:
        require_database(settings)
    migrate_or_refuse(settings)
    typer.echo("The schema is up to date.")


def migrate_or_refuse(settings: DatabaseSettings) -> None:
    """Bring the schema up to date.

    Raises:
        typer.Exit: The database cannot be migrated.
    """
    # Alembic takes longer to import than `serve`, which has no use for it, takes to check its settings.
    with ended_by_interrupts():
        from taskmanager.commands.migrating import POOLER, MigrationError, migrate_schema  # noqa: PLC0415

    url = settings.database_direct_url
    if url is None and settings.database_pooler == "transaction":
        refuse(POOLER)
    url = url or settings.database_url
    assert url is not None
    try:
        migrate_schema(url)
    except SchemaError as error:
        refuse(str(error))
    except MigrationError as error:
        refuse(str(error), code=error.exit_code)
