"""`taskmanager dev --ephemeral`: serves from a database of its own that is gone at the end, for tests of clients."""

import asyncio
import gc
import os
import secrets
import signal
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import typer

from taskmanager.commands.migrate import migrate_or_refuse
from taskmanager.commands.refusals import read_settings, refuse
from taskmanager.embedded import demo
from taskmanager.embedded.errors import EmbeddedPostgresError
from taskmanager.embedded.temporary_postgres import TemporaryPostgres
from taskmanager.libpq.parameters import VARIABLES
from taskmanager.server.addresses import lines_of_pages, local_url
from taskmanager.server.ephemeral import EphemeralServer, unfinished
from taskmanager.server.serving import STOP_SIGNALS, exit_now
from taskmanager.server.workers import CANNOT_START, ENDED_UNASKED, server_config
from taskmanager.settings import Settings
from taskmanager.telemetry.logs import configure_logging

_STDIN = 0
_UNLIMITED = (
    "rate_limit_anonymous_per_minute",
    "rate_limit_user_per_minute",
    "rate_limit_login_per_minute",
    "rate_limit_login_address_per_minute",
)


@dataclass(frozen=True)
class Wishes:
    """What the command line asks of an ephemeral instance; port 0 is any that is free."""

    port: int | None
    with_demo: bool
    url_file: Path | None
    access_token_seconds: int | None
    stops_with_stdin: bool


def serve_ephemerally(begun: TemporaryPostgres | None, wishes: Wishes) -> NoReturn:
    """Serve until asked to stop, then delete everything; `begun` is the database, if it has been begun already.

    Raises:
        typer.Exit: Always; with 0 after SIGTERM, SIGINT or the end of standard input.
    """
    database = begun or TemporaryPostgres()

    def leave(_number: int, _frame: FrameType | None) -> NoReturn:
        database.stop()
        exit_now()

    for number in STOP_SIGNALS:
        signal.signal(number, leave)
    try:
        raise typer.Exit(_serve(database, wishes))
    except EmbeddedPostgresError as error:
        refuse(str(error))
    finally:
        database.stop()


def _serve(database: TemporaryPostgres, wishes: Wishes) -> int:
    ends_with = [database.reports, *([_standard_input()] if wishes.stops_with_stdin else [])]
    settings = _settings(wishes)
    listener = _listen(settings, wishes)
    host, port = listener.getsockname()[:2]
    url = local_url(host, port)
    if wishes.url_file is not None:
        _forget(wishes.url_file, database)
    # While PostgreSQL starts; no other command needs them.
    gc.disable()
    from taskmanager.main import FEATURES, create_app  # noqa: PLC0415
    from taskmanager.testing.feature import feature_for_tests  # noqa: PLC0415

    gc.freeze()
    gc.enable()
    address, is_migrated = database.wait()
    settings = settings.model_copy(update={"database_url": address, "port": port})
    if not is_migrated:
        migrate_or_refuse(settings)
        database.save_template()
    lines = [*lines_of_pages(url, web_app=settings.web_app), "Database           temporary, gone at the end"]
    if wishes.with_demo:
        asyncio.run(demo.seed_database(settings))
        lines.insert(-1, demo.LOGIN)
    configure_logging(readable=True)
    app = create_app(settings, (*FEATURES, feature_for_tests(access_token_seconds=wishes.access_token_seconds)))
    server = EphemeralServer(
        server_config(settings, lambda: app),
        banner="\n".join([*lines, "Stop               Ctrl-C"]),
        url=url,
        url_file=wishes.url_file,
        ends_with=ends_with,
    )
    try:
        server.run([listener])
    except SystemExit:
        return CANNOT_START  # uvicorn has logged why
    return ENDED_UNASKED if server.ended_with == database.reports else 0


def _standard_input() -> int:
    mode = os.fstat(_STDIN).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        refuse("--stop-with-stdin needs a pipe at standard input, whose other end the starting program holds")
    return _STDIN


def _settings(wishes: Wishes) -> Settings:
    # The folder and the environment are those of the client under test: what they have for other databases and
    # services must not lead away from this one.
    for name in VARIABLES:
        os.environ.pop(name, None)
    given: dict[str, Any] = {}
    if wishes.port is not None:  # of 0 the setting knows nothing; the real one is known later
        given["port"] = wishes.port or Settings.model_fields["port"].default
    found = read_settings(
        Settings,
        _env_file=None,
        database_url=None,
        database_direct_url=None,
        database_pooler="none",
        secret_key=secrets.token_hex(32),
        secret_key_previous=None,
        api_key=None,
        metrics_token=None,
        debug=True,
        drain_seconds=0,
        **given,
    )
    wanted = {**dict.fromkeys(_UNLIMITED, 0), "allow_local_origins": True}
    return found.model_copy(
        update={name: value for name, value in wanted.items() if name not in found.model_fields_set}
    )


def _listen(settings: Settings, wishes: Wishes) -> socket.socket:
    port = settings.port if wishes.port is None else wishes.port
    try:
        family = socket.getaddrinfo(settings.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((settings.host, port), family=family, backlog=2048)
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None) or 0
        reason = os.strerror(number) if number > 0 else "no address of this machine"  # names have numbers below 0
        refuse(f"cannot listen on {settings.host}:{port}: {reason}")


def _forget(url_file: Path, database: TemporaryPostgres) -> None:
    try:
        new = unfinished(url_file)
        for path in (url_file, new):
            database.delete_at_end(path)
            path.unlink(missing_ok=True)
        # Only this one: a program that waits for the file itself must not find it empty.
        new.touch()
        new.unlink()
    except OSError as error:
        refuse(f"--url-file: cannot write {url_file}: {error.strerror}")
