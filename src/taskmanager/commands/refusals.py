"""What every command does before its work: read the settings, and refuse in one line where it cannot start."""

import socket
from typing import Any, NoReturn, TypeVar

import typer
from pydantic import ValidationError

from taskmanager.server.workers import CANNOT_START
from taskmanager.settings import DatabaseSettings, Settings

_S = TypeVar("_S", bound=DatabaseSettings)


def refuse(*lines: str, code: int = CANNOT_START) -> NoReturn:
    """Print each line to standard error and end the command with this exit code.

    Raises:
        typer.Exit: Always.
    """
    for line in lines:
        typer.echo(f"taskmanager: {line}", err=True)
    raise typer.Exit(code)


def describe_errors(error: ValidationError) -> list[str]:
    """Return a line for each value that is not valid, without the value, which may be secret."""
    return [
        f"{'.'.join(str(part) for part in e['loc']).upper()}: {e['msg'].removeprefix('Value error, ')}".removeprefix(
            ": "
        )
        for e in error.errors(include_input=False, include_url=False)
    ]


def read_settings(kind: type[_S], **values: Any) -> _S:
    """Return the settings of the environment; `values` win over it.

    Raises:
        typer.Exit: A setting is missing, malformed or unsafe.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        refuse(*describe_errors(error))


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
    except OSError as error:
        refuse(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; set PORT to another one")
