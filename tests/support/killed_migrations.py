"""`taskmanager migrate` that kills itself before a chosen COMMIT; forked, to import everything once."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NoReturn

from tests.support.forking import call_forker, fork_for_each_line, run_and_exit, start_forker


class Migrations:
    """Runs `taskmanager migrate` as often as asked for, in a process of its own each time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, url: str, *, die_at: int = 0, patience_seconds: int = 60) -> tuple[int, str]:
        """Run it on a database; return its exit code and its standard error.

        It kills itself before it sends the COMMIT of the number `die_at`, which counts those of changes; a change that
        is sent outside of a transaction counts as one. The code is then -9.
        """
        with tempfile.NamedTemporaryFile("r+") as stderr:
            call = {"url": url, "die_at": die_at, "patience_seconds": patience_seconds, "stderr": stderr.name}
            return call_forker(self._process, call), stderr.read()


@contextmanager
def forked_migrations() -> Iterator[Migrations]:
    """Yield what forks, from a process that has imported everything."""
    with start_forker("tests.support.killed_migrations") as process:
        yield Migrations(process)


def _die_at(number: int) -> None:
    changes, sent = False, 0

    def count() -> None:
        nonlocal sent
        sent += 1
        if sent == number:
            os.kill(os.getpid(), signal.SIGKILL)

    # To die within a transaction is to die before its COMMIT: the server rolls it back.
    def execute(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        nonlocal changes
        if not statement.lstrip().startswith(("SELECT", "WITH", "SET")):
            if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
                count()
            else:
                changes = True

    def commit(_connection: object) -> None:
        nonlocal changes
        if changes:
            count()
        changes = False

    event.listen(Engine, "before_cursor_execute", execute)
    event.listen(Engine, "commit", commit)


def _become(call: dict[str, Any]) -> NoReturn:
    if call["die_at"]:
        _die_at(call["die_at"])
    schema_migrations.PATIENCE_SECONDS = call["patience_seconds"]
    os.environ["DATABASE_URL"] = call["url"]
    sys.argv = ["taskmanager", "migrate"]
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(call["stderr"], os.O_WRONLY), 2)
    os.chdir("/")
    run_and_exit(main)


if __name__ == "__main__":
    from sqlalchemy import Connection, Engine, event

    import taskmanager.commands.migrating  # noqa: F401  # what `migrate` imports later
    from taskmanager.commands.cli import main
    from taskmanager.database import schema_migrations
    from taskmanager.database.checks import table_modules

    for module in table_modules():
        import_module(module)

    fork_for_each_line(_become)
