"""`taskmanager doctor`: looks at everything that a start needs and that goes wrong in practice."""

import asyncio
from contextlib import suppress
from typing import Annotated

import typer
from pydantic import ValidationError

from taskmanager.commands.doctor.configuration import examine_installation, examine_settings
from taskmanager.commands.doctor.database import examine_database
from taskmanager.commands.doctor.findings import Level, problem
from taskmanager.commands.refusals import describe_errors
from taskmanager.database_settings import DatabaseSettings
from taskmanager.environment import EnvFileError
from taskmanager.settings import Settings


def examine(workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that will serve.")] = 1) -> None:
    """Look for what would go wrong with these settings and this database: a line each, exit code 1 on a problem."""
    findings = list(examine_installation())
    settings: DatabaseSettings | None = None
    try:
        settings = Settings()
        findings += examine_settings(settings)
    except EnvFileError as error:
        findings.append(problem(str(error)))
    except ValidationError as error:
        findings += (problem(message) for message in describe_errors(error))
        with suppress(ValidationError):
            settings = DatabaseSettings()
    if settings is not None:
        findings += asyncio.run(examine_database(settings, workers))
    for finding in findings:
        typer.echo(str(finding))
    if any(finding.level is Level.PROBLEM for finding in findings):
        raise typer.Exit(1)
