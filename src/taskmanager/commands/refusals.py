"""What every command does before its work: read the settings, and refuse in one line where it cannot start."""

import errno
import os
import socket
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NoReturn, TypeVar

import typer
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from taskmanager.database_settings import DatabaseSettings
from taskmanager.embedded.embedded_postgres import EmbeddedPostgres
from taskmanager.environment import EnvFileError
from taskmanager.libpq.errors import AddressError
from taskmanager.server.workers import CANNOT_START
from taskmanager.settings import METRICS_FOLDER_VARIABLE, Settings

_S = TypeVar("_S", bound=DatabaseSettings)


def refuse(*lines: str, code: int = CANNOT_START) -> NoReturn:
    """Print each line to standard error and end the command with this exit code.

    Raises:
        typer.Exit: Always.
    """
    for line in lines:
        # A value may have a line break in it.
        shown = "".join(character if character.isprintable() else " " for character in line)
        typer.echo(f"taskmanager: {shown}", err=True)
    raise typer.Exit(code)


def describe_errors(error: ValidationError) -> list[str]:
    """Return a line for each value that is not valid, without the value, which may be secret."""
    return [
        f"{_name(found)}: {found['msg'].removeprefix('Value error, ')}".removeprefix(": ")
        for found in error.errors(include_input=False, include_url=False)
    ]


def _name(found: ErrorDetails) -> str:
    cause = found.get("ctx", {}).get("error")
    if isinstance(cause, AddressError) and cause.source is not None:
        return cause.source
    return ".".join(str(part) for part in found["loc"]).upper()


def read_settings(kind: type[_S], **values: Any) -> _S:
    """Return the settings of the environment; `values` win over it.

    Raises:
        typer.Exit: A setting is missing, malformed or unsafe, or `.env` cannot be read.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        refuse(*describe_errors(error))
    except EnvFileError as error:
        refuse(str(error))


def read_database_settings(kind: type[_S]) -> _S:
    """Return the settings of the environment; without DATABASE_URL for the database that `dev` runs in DATA_DIR.

    Raises:
        typer.Exit: A setting is malformed, or there is neither.
    """
    settings = read_settings(kind)
    if settings.database_url is None and (url := EmbeddedPostgres(settings.data_dir).url) is not None:
        typer.echo(f"taskmanager: this is the database that `dev` runs in {settings.data_dir}", err=True)
        return read_settings(kind, database_url=url, database_direct_url=url, database_pooler="none")
    require_database(settings)
    return settings


def require_database(settings: DatabaseSettings) -> None:
    """Refuse settings that name no database.

    Raises:
        typer.Exit: DATABASE_URL is not set.
    """
    if settings.database_url is None:
        refuse("DATABASE_URL is not set, for example: postgresql://user:password@localhost/taskmanager")


def require_free_port(settings: Settings) -> None:
    """Refuse an address that another program listens on.

    Raises:
        typer.Exit: The service cannot listen on HOST and PORT.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except (OSError, UnicodeError) as error:
        at = f"cannot listen on {settings.host}:{settings.port}"
        if isinstance(error, OSError) and error.errno in {errno.EADDRINUSE, errno.EACCES}:
            refuse(f"{at}: {error.strerror}; set PORT to another one")
        # Shells and package managers set it, too, to names of other things.
        reason = error.strerror if isinstance(error, OSError) else "no name of a host"
        refuse(f"{at}: {reason}; HOST must be an address of this machine, or unset")


def require_metrics_folder() -> None:
    """Refuse a folder for the metrics of several workers that cannot be written to, if one is named.

    Raises:
        typer.Exit: PROMETHEUS_MULTIPROC_DIR names no such folder.
    """
    folder = os.environ.get(METRICS_FOLDER_VARIABLE)
    if not folder:
        return
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no path"
        refuse(f"{METRICS_FOLDER_VARIABLE}: cannot write to {folder}: {reason}")
