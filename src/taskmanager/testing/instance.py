"""An ephemeral instance as a process of its own, for tests in Python; needs the standard library alone."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_ANSWER_SECONDS = 30.0
_POLL_SECONDS = 0.005
# The instance is on this machine, so a proxy that the environment names is not used.
_opener = build_opener(ProxyHandler({}))


class InstanceError(Exception):
    """The instance did not start, or it refused a request; the message says why."""


@dataclass(frozen=True)
class LoggedInUser:
    """A user of the instance, with the tokens of a login."""

    id: int
    username: str
    email: str
    password: str
    access_token: str
    refresh_token: str

    @property
    def headers(self) -> dict[str, str]:
        """The header by which requests are this user's."""
        return {"Authorization": f"Bearer {self.access_token}"}


class Instance:
    """A service with an empty database that is gone when this process is, however it ends.

    Its log is `FOLDER/log`. `options` are further ones of `taskmanager dev --ephemeral`.

    Raises:
        InstanceError: It does not start.
    """

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self.log = folder / "log"
        url_file = folder / "url"
        command = [sys.executable, "-P", "-m", "taskmanager", "dev", "--ephemeral", "--port", "0", "--no-demo"]
        command += ["--url-file", str(url_file), "--stop-with-stdin", *options]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)  # noqa: S603
        try:
            self.url = self._wait_for_url(url_file)
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def reset(self) -> None:
        """Delete everything; ids go on.

        Raises:
            InstanceError: The instance refused.
        """
        self._post("/testing/reset", None)

    def create_user(self, **fields: Any) -> LoggedInUser:
        """Create a user who is logged in.

        `fields` are those of `POST /testing/users`: username, email, password, is_admin and access_token_seconds; what
        is left out is made up.

        Raises:
            InstanceError: The instance refused.
        """
        found = self._post("/testing/users", fields)
        account = found["user"]
        return LoggedInUser(
            id=account["id"],
            username=account["username"],
            email=account["email"],
            password=found["password"],
            access_token=found["access_token"],
            refresh_token=found["refresh_token"],
        )

    def stop(self) -> None:
        """Stop the instance and delete its database; return when all is gone."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _post(self, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        request = Request(self.url + path, data, headers, method="POST")  # noqa: S310  # an address of ours
        try:
            with _opener.open(request, timeout=_ANSWER_SECONDS) as answer:
                content = answer.read()
        except HTTPError as error:
            with error:
                reason = error.read().decode(errors="replace")
            raise InstanceError(f"POST {path}: {error.code} {reason}") from None
        found: dict[str, Any] = json.loads(content) if content else {}
        return found

    def _wait_for_url(self, url_file: Path) -> str:
        deadline = time.monotonic() + _START_SECONDS
        while not url_file.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise InstanceError(f"the task manager does not start:\n{self.log.read_text(errors='replace')}")
            time.sleep(_POLL_SECONDS)
        return url_file.read_text().strip()
