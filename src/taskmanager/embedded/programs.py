"""Runs the programs of PostgreSQL, as root under another account, since PostgreSQL refuses to run as root."""

import os
import pwd
import re
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from taskmanager.embedded.data_folder import DataFolder
from taskmanager.embedded.errors import EmbeddedPostgresError

_SERVICE_ACCOUNTS = ("postgres", "nobody")

# Nothing of the caller's environment: PG* variables would change the server, secrets are none of its business.
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


class Programs:
    """Starts programs as `account`, a user and a group id; None stands for the caller's own.

    Each leads a session of its own, so that Ctrl-C in the terminal does not reach it, or they stay in the caller's.
    """

    def __init__(self, account: tuple[int, int] | None, *, leads_sessions: bool = True) -> None:
        self._account = account
        self._leads_sessions = leads_sessions

    def reaches(self, path: Path) -> bool:
        """Return whether the account may enter a folder or run a file."""
        return self._account is None or self._run("test", "-x", str(path))[0] == 0

    def give(self, *paths: Path) -> None:
        """Make the account the owner of these."""
        if self._account is not None:
            for path in paths:
                os.chown(path, *self._account)

    def check(self, *command: str, text: str = "") -> None:
        """Run a program to its end on this input.

        Raises:
            EmbeddedPostgresError: It cannot be run, or it failed.
        """
        code, output = self._run(*command, text=text)
        if code != 0:
            raise EmbeddedPostgresError(f"{Path(command[0]).name} failed: {find_error(output)}")

    def start(self, command: Sequence[str], *, output: int) -> subprocess.Popen[bytes]:
        """Start a program that writes to an open file.

        Raises:
            EmbeddedPostgresError: It cannot be run.
        """
        return self._spawn(command, subprocess.DEVNULL, output)

    def _run(self, *command: str, text: str = "") -> tuple[int, str]:
        """Run a command to its end on `text` and return its exit code and output."""
        with self._spawn(command, subprocess.PIPE, subprocess.PIPE) as process:
            output, _ = process.communicate(text.encode())
        return process.returncode, output.decode(errors="replace")

    def _spawn(self, command: Sequence[str], stdin: int, output: int) -> subprocess.Popen[bytes]:
        user, group = self._account or (None, None)
        try:
            return subprocess.Popen(  # noqa: S603
                command,
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env=_ENVIRONMENT,
                user=user,
                group=group,
                extra_groups=None if user is None else [],
                start_new_session=self._leads_sessions,
            )
        except OSError as error:  # in a container root may lack the right to change accounts
            account = "" if user is None else f" as user id {user}"
            raise EmbeddedPostgresError(f"cannot run {command[0]}{account}: {error.strerror}") from error


def choose_account(folder: DataFolder) -> tuple[int, int] | None:
    """Return the user and group id that PostgreSQL runs with; None stands for the caller's own.

    Raises:
        EmbeddedPostgresError: The caller is root and there is no other account.
    """
    if os.geteuid() != 0:
        return None
    if folder.cluster.exists():
        owner = folder.cluster.stat()
        return owner.st_uid, owner.st_gid
    for key in (folder.path.stat().st_uid, *_SERVICE_ACCOUNTS):
        with suppress(KeyError):  # initdb wants an account with a name, so a bare id will not do
            account = pwd.getpwuid(key) if isinstance(key, int) else pwd.getpwnam(key)
            if account.pw_uid != 0:
                return account.pw_uid, account.pw_gid
    raise EmbeddedPostgresError("PostgreSQL does not run as root, and there is no account postgres or nobody")


def find_error(output: str) -> str:
    """Return the last line that names an error, else the last line."""
    lines: Sequence[str] = [line.strip() for line in output.splitlines() if line.strip()] or ["no output"]
    errors = [line for line in lines if re.search(r"\b(FATAL|PANIC|ERROR|error):", line)]
    return (errors or lines)[-1]
