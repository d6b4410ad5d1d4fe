"""`taskmanager serve`: serves for production."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from taskmanager.commands.refusals import (
    read_settings,
    refuse,
    require_database,
    require_free_port,
    require_metrics_folder,
)
from taskmanager.server.open_files import raise_open_files
from taskmanager.server.serving import CannotStartError, exit_when_asked, wait_for_database
from taskmanager.server.workers import run_server
from taskmanager.settings import METRICS_FOLDER_VARIABLE, Settings
from taskmanager.telemetry.logs import configure_logging


def serve(workers: Annotated[int, typer.Option(min=1, max=64, help="Processes to serve from.")] = 1) -> None:
    """Serve for production, from the database at DATABASE_URL, whose schema must not be behind this version."""
    settings = read_settings(Settings)
    require_database(settings)
    require_free_port(settings)
    require_metrics_folder()
    exit_when_asked()
    configure_logging(readable=settings.debug)
    raise_open_files(settings)
    try:
        asyncio.run(wait_for_database(settings))
    except CannotStartError as error:
        refuse(str(error))
    with _metrics_folder() if workers > 1 else nullcontext():
        raise typer.Exit(run_server(settings, workers=workers))


@contextmanager
def _metrics_folder() -> Iterator[None]:
    # Where the workers leave their numbers for each other, unless the operator has named a place.
    if os.environ.get(METRICS_FOLDER_VARIABLE):
        yield
        return
    try:
        folder = TemporaryDirectory(prefix="taskmanager-metrics-", ignore_cleanup_errors=True)
    except OSError as error:
        refuse(
            f"there is no folder for the metrics of several workers, set {METRICS_FOLDER_VARIABLE}: {error.strerror}"
        )
    with folder as path:
        os.environ[METRICS_FOLDER_VARIABLE] = path
        yield
