"""The command line: `taskmanager dev | serve | migrate | doctor | openapi | user | key`."""

import asyncio
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from pydantic import SecretStr, ValidationError
from sqlalchemy.exc import DBAPIError

from taskmanager.accounts.api_key.repository import ApiKeyWriter
from taskmanager.accounts.api_key.written_keys import hash_secret, new_secret, write_key
from taskmanager.accounts.password.hashing import PasswordHasher
from taskmanager.accounts.password.rules import check_password
from taskmanager.accounts.repository import AccountReader, AccountWriter
from taskmanager.accounts.schemas import ApiKeyCreate, UserCreate
from taskmanager.accounts.scopes import Scope
from taskmanager.commands import doctor
from taskmanager.database.database import Database, SchemaError
from taskmanager.database.failures import describe_failure
from taskmanager.embedded import demo
from taskmanager.embedded.embedded_postgres import EmbeddedPostgres, EmbeddedPostgresError
from taskmanager.errors import AdministratorOnlyError, AlreadyTakenError, InvalidValueError, NotFoundError
from taskmanager.server.serving import CannotStartError, exit_when_asked, wait_for_database
from taskmanager.server.supervisor import run_with_database
from taskmanager.server.workers import CANNOT_START, run_server
from taskmanager.settings import METRICS_FOLDER_VARIABLE, DatabaseSettings, Settings
from taskmanager.telemetry.logs import configure_logging, log_writer

_S = TypeVar("_S", bound=DatabaseSettings)

cli = typer.Typer(no_args_is_help=True, add_completion=False, help="A self-hosted task-management service.")
user_cli = typer.Typer(no_args_is_help=True, help="Manage accounts.")
key_cli = typer.Typer(no_args_is_help=True, help="Manage API keys.")
cli.add_typer(user_cli, name="user")
cli.add_typer(key_cli, name="key")


def main() -> None:
    """Run the command line."""
    try:
        cli()
    finally:
        log_writer.close()


@cli.command()
def dev(*, reload: Annotated[bool, typer.Option(help="Restart when a source file changes.")] = False) -> None:
    """Serve for development: with a database of its own unless DATABASE_URL is set."""
    settings = _development_settings()
    _require_free_port(settings)
    os.environ["SECRET_KEY"] = settings.secret_key.get_secret_value()
    if settings.database_url is not None:
        _serve_development(settings, reload=reload, with_demo=False)
        return
    arguments = ["_dev-server", *(["--reload"] if reload else [])]
    try:
        code = run_with_database(
            EmbeddedPostgres(settings.data_dir), [sys.executable, "-m", "taskmanager", *arguments], os.environ
        )
    except EmbeddedPostgresError as error:
        _refuse(str(error))
    raise typer.Exit(code)


@cli.command("_dev-server", hidden=True)
def dev_server(*, reload: bool = False) -> None:
    """Serve from the embedded database that the parent process keeps."""
    _serve_development(_settings(Settings), reload=reload, with_demo=True)


@cli.command()
def serve(workers: Annotated[int, typer.Option(min=1, max=64, help="Processes to serve from.")] = 1) -> None:
    """Serve for production, from the database at DATABASE_URL, whose schema must not be behind this version."""
    settings = _settings(Settings)
    _require_database(settings)
    _require_free_port(settings)
    exit_when_asked()
    configure_logging(readable=settings.debug)
    try:
        asyncio.run(wait_for_database(settings))
    except CannotStartError as error:
        _refuse(str(error))
    with _metrics_folder() if workers > 1 else nullcontext():
        raise typer.Exit(run_server(settings, workers=workers))


@cli.command()
def migrate() -> None:
    """Bring the schema at DATABASE_URL up to date."""
    settings = _settings(DatabaseSettings)
    _require_database(settings)
    _migrate(settings)
    typer.echo("The schema is up to date.")


@cli.command("doctor")
def examine(workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that will serve.")] = 1) -> None:
    """Look for what would go wrong with these settings and this database: a line each, exit code 1 on a problem."""
    findings = list(doctor.examine_installation())
    settings: DatabaseSettings | None = None
    try:
        settings = Settings()
        findings += doctor.examine_settings(settings)
    except ValidationError as error:
        findings += (doctor.Finding(doctor.Level.PROBLEM, message) for message in _messages(error))
        with suppress(ValidationError):
            settings = DatabaseSettings()
    if settings is not None:
        findings += asyncio.run(doctor.examine_database(settings, workers))
    for finding in findings:
        typer.echo(str(finding))
    if any(finding.level is doctor.Level.PROBLEM for finding in findings):
        raise typer.Exit(1)


@cli.command("openapi")
def print_openapi(output: Annotated[Path | None, typer.Option(help="Write to this file instead.")] = None) -> None:
    """Print the OpenAPI document of this version; needs no settings and no database."""
    from taskmanager.commands import openapi  # noqa: PLC0415  # needs the whole application, which other commands don't

    document = openapi.render(openapi.describe())
    if output is None:
        typer.echo(document, nl=False)
        return
    try:
        output.write_text(document, encoding="utf-8")
    except OSError as error:
        _refuse(f"cannot write to {output}: {error.strerror}", code=1)


@user_cli.command("create")
def create_user(
    username: str,
    email: str,
    *,
    admin: Annotated[bool, typer.Option("--admin", help="May manage the accounts of others.")] = False,
) -> None:
    """Create an account; the password is prompted for, or read from standard input."""
    settings = _settings(DatabaseSettings)
    _require_database(settings)
    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    try:
        new = UserCreate(username=username, email=email, password=SecretStr(password))
        check_password(password, field="password", min_characters=8, username=new.username, email=new.email)
    except ValidationError as error:
        _refuse(*_messages(error))
    except InvalidValueError as error:
        _refuse(f"PASSWORD: {error.message}")
    try:
        user_id = asyncio.run(_create_user(settings, new, is_admin=admin))
    except AlreadyTakenError as error:
        _refuse(f"this {error.field} is already taken", code=1)
    except (DBAPIError, OSError) as error:
        _refuse(describe_failure(error))
    typer.echo(f"Created {'administrator' if admin else 'user'} {new.username} with id {user_id}.")


@key_cli.command("create")
def create_key(
    username: str,
    *,
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scope: Annotated[list[Scope], typer.Option(help="What it may be used for; may be repeated.")],
    expires_in_days: Annotated[int | None, typer.Option(min=1, max=3650, help="Days until it ends.")] = None,
) -> None:
    """Create an API key for a user and print it, this once."""
    settings = _settings(DatabaseSettings)
    _require_database(settings)
    try:
        expires_at = datetime.now(UTC) + timedelta(days=expires_in_days) if expires_in_days else None
        new = ApiKeyCreate(name=name, scopes=scope, expires_at=expires_at)
        typer.echo(asyncio.run(_create_key(settings, username, new)))
    except ValidationError as error:
        _refuse(*_messages(error))
    except NotFoundError:
        _refuse(f"there is no user {username}", code=1)
    except AdministratorOnlyError:
        _refuse(f"{username} is not an administrator, so no key of theirs can have the scope admin", code=1)
    except (DBAPIError, OSError) as error:
        _refuse(describe_failure(error))


def _refuse(*lines: str, code: int = CANNOT_START) -> NoReturn:
    for line in lines:
        typer.echo(f"taskmanager: {line}", err=True)
    raise typer.Exit(code)


def _messages(error: ValidationError) -> list[str]:
    return [
        f"{'.'.join(str(part) for part in e['loc']).upper()}: {e['msg'].removeprefix('Value error, ')}".removeprefix(
            ": "
        )
        for e in error.errors(include_input=False, include_url=False)
    ]


def _settings(kind: type[_S], **values: Any) -> _S:
    try:
        return kind(**values)
    except ValidationError as error:
        _refuse(*_messages(error))


def _require_database(settings: DatabaseSettings) -> None:
    if settings.database_url is None:
        _refuse("DATABASE_URL is not set, for example: postgresql://user:password@localhost/taskmanager")


def _require_free_port(settings: Settings) -> None:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        _refuse(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; set PORT to another one")


@contextmanager
def _metrics_folder() -> Iterator[None]:
    # Where the workers leave their numbers for each other, unless the operator has named a place.
    if os.environ.get(METRICS_FOLDER_VARIABLE):
        yield
        return
    try:
        folder = TemporaryDirectory(prefix="taskmanager-metrics-", ignore_cleanup_errors=True)
    except OSError as error:
        _refuse(
            f"there is no folder for the metrics of several workers, set {METRICS_FOLDER_VARIABLE}: {error.strerror}"
        )
    with folder as path:
        os.environ[METRICS_FOLDER_VARIABLE] = path
        yield


def _development_settings() -> Settings:
    found = _settings(DatabaseSettings)
    if os.environ.get("SECRET_KEY") or "secret_key" in _dotenv_names():
        return _settings(Settings)
    return _settings(Settings, secret_key=_development_secret(found.data_dir))


def _dotenv_names() -> set[str]:
    path = Path(".env")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    return {name.strip().lower() for name, equals, value in (line.partition("=") for line in lines) if value.strip()}


def _development_secret(data_dir: Path) -> str:
    path = data_dir / "secret_key"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(32))
        return path.read_text().strip()
    except OSError as error:
        _refuse(f"cannot write to {data_dir}: {error.strerror}")


def _migrate(settings: DatabaseSettings) -> None:
    # Alembic takes longer to import than `serve`, which has no use for it, takes to check its settings.
    from taskmanager.commands.migrating import MigrationError, migrate_schema  # noqa: PLC0415

    assert settings.database_url is not None
    try:
        migrate_schema(settings.database_url)
    except SchemaError as error:
        _refuse(str(error))
    except MigrationError as error:
        _refuse(str(error), code=error.exit_code)


async def _create_user(settings: DatabaseSettings, new: UserCreate, *, is_admin: bool) -> int:
    hasher = PasswordHasher(threads=1, queue=1)
    password_hash = await hasher.hash(new.password.get_secret_value())
    hasher.close()
    database = Database(settings)
    try:
        async with database.transaction() as session:
            account = await AccountWriter(session).create(
                username=new.username, email=new.email, password_hash=password_hash, is_admin=is_admin
            )
            return account.id
    finally:
        await database.dispose()


async def _create_key(settings: DatabaseSettings, username: str, new: ApiKeyCreate) -> str:
    database = Database(settings)
    secret = new_secret()
    try:
        async with database.reader() as reader:
            account = await AccountReader(reader).find_by_name(username)
        if account is None:
            raise NotFoundError("user")
        if Scope.ADMIN in new.scopes and not account.is_admin:
            raise AdministratorOnlyError
        async with database.transaction() as session:
            stored = await ApiKeyWriter(session).create(
                user_id=account.id,
                name=new.name,
                secret_hash=hash_secret(secret),
                scopes=sorted(set(new.scopes)),
                expires_at=new.expires_at,
            )
    finally:
        await database.dispose()
    return write_key(stored.id, secret)


async def _seed(settings: Settings) -> None:
    database = Database(settings)
    hasher = PasswordHasher(threads=1, queue=1)
    try:
        await demo.seed_demo(database, hasher)
    finally:
        hasher.close()
        await database.dispose()


def _serve_development(settings: Settings, *, reload: bool, with_demo: bool) -> None:
    _migrate(settings)
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
        os.environ["DRAIN_SECONDS"] = "0"  # nobody else would take over
    raise typer.Exit(run_server(settings, reload=reload, banner="\n".join(lines)))
