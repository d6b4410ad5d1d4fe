"""`taskmanager migrate`: brings the schema up to date."""

import typer

from taskmanager.commands.refusals import read_settings, refuse, require_database
from taskmanager.database.database import SchemaError
from taskmanager.settings import DatabaseSettings


def migrate() -> None:
    """Bring the schema at DATABASE_URL up to date."""
    settings = read_settings(DatabaseSettings)
    require_database(settings)
    migrate_or_refuse(settings)
    typer.echo("The schema is up to date.")


def migrate_or_refuse(settings: DatabaseSettings) -> None:
    """Bring the schema up to date.

    Raises:
        typer.Exit: The database cannot be migrated.
    """
    # Alembic takes longer to import than `serve`, which has no use for it, takes to check its settings.
    from taskmanager.commands.migrating import MigrationError, migrate_schema  # noqa: PLC0415

    assert settings.database_url is not None
    try:
        migrate_schema(settings.database_url)
    except SchemaError as error:
        refuse(str(error))
    except MigrationError as error:
        refuse(str(error), code=error.exit_code)
