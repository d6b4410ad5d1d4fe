"""`taskmanager openapi`: prints the OpenAPI document."""

from pathlib import Path
from typing import Annotated

import typer

from taskmanager.commands.interrupts import ended_by_interrupts
from taskmanager.commands.refusals import refuse


def print_openapi(output: Annotated[Path | None, typer.Option(help="Write to this file instead.")] = None) -> None:
    """Print the OpenAPI document of this version; needs no settings and no database."""
    with ended_by_interrupts():
        # It needs the whole application, which other commands don't.
        from taskmanager.commands import openapi  # noqa: PLC0415

        document = openapi.render(openapi.describe())
    if output is None:
        typer.echo(document, nl=False)
        return
    try:
        output.write_text(document, encoding="utf-8")
    except OSError as error:
        refuse(f"cannot write to {output}: {error.strerror}", code=1)
