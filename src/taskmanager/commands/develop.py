"""`taskmanager dev`: serves for development."""

import asyncio
import os
import secrets
import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic_settings import DotEnvSettingsSource

from taskmanager.accounts.tokens import LONGEST_LIFETIME_SECONDS
from taskmanager.commands.ephemeral import Wishes, serve_ephemerally
from taskmanager.commands.migrate import migrate_or_refuse
from taskmanager.commands.refusals import read_settings, refuse, require_free_port, require_metrics_folder
from taskmanager.database_settings import DatabaseSettings
from taskmanager.embedded import demo
from taskmanager.embedded.embedded_postgres import EmbeddedPostgres
from taskmanager.embedded.errors import EmbeddedPostgresError
from taskmanager.libpq.parameters import VARIABLES
from taskmanager.server.addresses import lines_of_pages, local_url
from taskmanager.server.supervisor import run_with_database
from taskmanager.server.workers import run_server
from taskmanager.settings import Settings

_ONLY = "; with --ephemeral"
_PORT_HELP = "TCP port to listen on, instead of PORT; 0 is any that is free, with --ephemeral."
_EPHEMERAL_HELP = (
    "For tests of clients: with a temporary database, gone at the end, and with /testing/reset and /users."
)
_SECRETS = ("secret_key", "secret_key_previous", "api_key", "metrics_token")


def dev(
    context: typer.Context,
    *,
    reload: Annotated[bool, typer.Option(help="Restart when a source file changes.")] = False,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help=_PORT_HELP)] = None,
    demo_data: Annotated[bool, typer.Option("--demo/--no-demo", help="Begin with an account and some tasks.")] = True,
    ephemeral: Annotated[bool, typer.Option("--ephemeral", help=_EPHEMERAL_HELP)] = False,
    url_file: Annotated[Path | None, typer.Option(help=f"Write the address there when it serves{_ONLY}.")] = None,
    access_token_seconds: Annotated[
        int | None, typer.Option(min=1, max=LONGEST_LIFETIME_SECONDS, help=f"Lifetime of access tokens{_ONLY}.")
    ] = None,
    stop_with_stdin: Annotated[
        bool, typer.Option("--stop-with-stdin", help=f"Stop when standard input, a pipe, is closed{_ONLY}.")
    ] = False,
) -> None:
    """Serve for development: with a database of its own unless DATABASE_URL is set."""
    if ephemeral:
        if reload:
            refuse("--reload does not go with --ephemeral")
        wishes = Wishes(port, demo_data, url_file, access_token_seconds, stop_with_stdin)
        serve_ephemerally(context.obj, wishes)
    for name, given in (
        ("--url-file", url_file),
        ("--access-token-seconds", access_token_seconds),
        ("--stop-with-stdin", stop_with_stdin),
        ("--port 0", port == 0),
    ):
        if given:
            refuse(f"{name} needs --ephemeral")
    if port is not None:
        os.environ["PORT"] = str(port)
    _forget_foreign_secrets()
    settings = _development_settings()
    require_free_port(settings)
    require_metrics_folder()
    os.environ["SECRET_KEY"] = settings.secret_key.get_secret_value()
    if settings.database_url is not None:
        _serve(settings, reload=reload, with_demo=False)
        return
    arguments = ["_dev-server", *(["--reload"] if reload else []), *([] if demo_data else ["--no-demo"])]
    # What the shell has for other databases must not lead away from this one.
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    try:
        code = run_with_database(
            EmbeddedPostgres(settings.data_dir), [sys.executable, "-m", "taskmanager", *arguments], environment
        )
    except EmbeddedPostgresError as error:
        refuse(str(error))
    raise typer.Exit(code)


def dev_server(*, reload: bool = False, demo_data: Annotated[bool, typer.Option("--demo/--no-demo")] = True) -> None:
    """Serve from the embedded database that the parent process keeps."""
    _serve(read_settings(Settings), reload=reload, with_demo=demo_data)


def _forget_foreign_secrets() -> None:
    # Other tools have variables of these names as well. What is meant for this service is in `.env`.
    for name in [name for name in os.environ if name.lower() in _SECRETS]:
        if os.environ.pop(name).strip():
            typer.echo(f"taskmanager: {name} of the environment is not used; `dev` takes it from .env only", err=True)


def _development_settings() -> Settings:
    found = read_settings(DatabaseSettings)
    if (DotEnvSettingsSource(Settings).env_vars.get("secret_key") or "").strip():
        return read_settings(Settings)
    return read_settings(Settings, secret_key=_development_secret(found.data_dir))


def _development_secret(data_dir: Path) -> str:
    path = data_dir / "secret_key"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(32))
        return path.read_text().strip()
    except OSError as error:
        refuse(f"DATA_DIR: cannot write to {data_dir}: {error.strerror}")


def _serve(settings: Settings, *, reload: bool, with_demo: bool) -> None:
    migrate_or_refuse(settings)
    if with_demo:
        asyncio.run(demo.seed_database(settings))
    lines = lines_of_pages(local_url(settings.host, settings.port), web_app=settings.web_app)
    if with_demo:
        lines.append(demo.LOGIN)
    lines.append("Stop               Ctrl-C")
    os.environ.setdefault("DEBUG", "true")
    os.environ.setdefault("ALLOW_LOCAL_ORIGINS", "true")
    if "drain_seconds" not in settings.model_fields_set:
        os.environ["DRAIN_SECONDS"] = "0"  # no other process would take over
    raise typer.Exit(run_server(settings, reload=reload, banner="\n".join(lines)))
