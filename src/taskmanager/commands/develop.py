"""`taskmanager dev`: serves for development."""

import asyncio
import os
import secrets
import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic_settings import DotEnvSettingsSource

from taskmanager.accounts.password.hashing import PasswordHasher
from taskmanager.commands.migrate import migrate_or_refuse
from taskmanager.commands.refusals import read_settings, refuse, require_free_port, require_metrics_folder
from taskmanager.database.writes import open_writes
from taskmanager.embedded import demo
from taskmanager.embedded.embedded_postgres import EmbeddedPostgres
from taskmanager.embedded.errors import EmbeddedPostgresError
from taskmanager.libpq.parameters import VARIABLES
from taskmanager.server.supervisor import run_with_database
from taskmanager.server.workers import run_server
from taskmanager.settings import DatabaseSettings, Settings

_SECRETS = ("secret_key", "secret_key_previous", "api_key", "metrics_token")


def dev(*, reload: Annotated[bool, typer.Option(help="Restart when a source file changes.")] = False) -> None:
    """Serve for development: with a database of its own unless DATABASE_URL is set."""
    _forget_foreign_secrets()
    settings = _development_settings()
    require_free_port(settings)
    require_metrics_folder()
    os.environ["SECRET_KEY"] = settings.secret_key.get_secret_value()
    if settings.database_url is not None:
        _serve(settings, reload=reload, with_demo=False)
        return
    arguments = ["_dev-server", *(["--reload"] if reload else [])]
    # What the shell has for other databases must not lead away from this one.
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    try:
        code = run_with_database(
            EmbeddedPostgres(settings.data_dir), [sys.executable, "-m", "taskmanager", *arguments], environment
        )
    except EmbeddedPostgresError as error:
        refuse(str(error))
    raise typer.Exit(code)


def dev_server(*, reload: bool = False) -> None:
    """Serve from the embedded database that the parent process keeps."""
    _serve(read_settings(Settings), reload=reload, with_demo=True)


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


async def _seed(settings: Settings) -> None:
    hasher = PasswordHasher(threads=1, queue=1)
    try:
        async with open_writes(settings) as writes:
            await demo.seed_demo(writes, hasher)
    finally:
        hasher.close()


def _serve(settings: Settings, *, reload: bool, with_demo: bool) -> None:
    migrate_or_refuse(settings)
    if with_demo:
        asyncio.run(_seed(settings))
    # An empty host or 0.0.0.0 means every address; a browser wants one.
    host = "127.0.0.1" if settings.host in {"", "0.0.0.0", "::"} else settings.host  # noqa: S104
    lines = [f"Task Manager API   http://{host}:{settings.port}/docs"]
    if with_demo:
        lines.append(f"Demo login         {demo.USERNAME} / {demo.PASSWORD}")
    lines.append("Stop               Ctrl-C")
    os.environ.setdefault("DEBUG", "true")
    if "drain_seconds" not in settings.model_fields_set:
        os.environ["DRAIN_SECONDS"] = "0"  # no other process would take over
    raise typer.Exit(run_server(settings, reload=reload, banner="\n".join(lines)))
