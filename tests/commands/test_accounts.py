"""`taskmanager user list | enable | disable | set-password` and `key create`: the way back in for those who run it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from taskmanager.database.database import Database
from tests.conftest import PASSWORD, Person, SignUp
from tests.support.command_line import run
from tests.support.credentials import log_in, new_key, status_of
from tests.support.rows import digests, fetch_all

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def call(database: Database, database_url: str, tmp_path: Path) -> Run:
    """Run `taskmanager` on the database of the test."""

    def call(*arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return run(*arguments, environment={"DATABASE_URL": database_url}, cwd=tmp_path, stdin=stdin)

    return call


async def test_lists_the_accounts(call: Run, alice: Person, bob: Person, sign_up: SignUp) -> None:
    root = await sign_up("root", is_admin=True)
    await bob.post("/users/me/delete", {"password": PASSWORD}, expect=204)
    call("user", "disable", "root")
    listed = call("user", "list")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.splitlines() == [
        f"{alice.id}\talice\talice@example.com\t-",
        f"{root.id}\troot\troot@example.com\tdisabled,admin",
    ]


async def test_enables_the_only_administrator_again(call: Run, client: httpx.AsyncClient, sign_up: SignUp) -> None:
    root = await sign_up("root", is_admin=True)
    key = await new_key(root, "admin")
    assert call("user", "disable", "ROOT").stdout == "Disabled root.\n"
    assert await status_of(client, "/admin/users", key.in_header) == 403
    assert call("user", "enable", "root").stdout == "Enabled root.\n"
    assert await status_of(client, "/admin/users", key.in_header) == 200


@pytest.mark.parametrize("command", ["enable", "disable", "set-password"])
def test_an_unknown_user_is_one_line(call: Run, command: str) -> None:
    refused = call("user", command, "nobody", stdin="a fine new phrase\n")
    assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", "taskmanager: there is no user nobody\n")


class TestSetPassword:
    """The password comes from standard input, never from an argument."""

    async def test_replaces_it_and_ends_all_logins(self, call: Run, client: httpx.AsyncClient, alice: Person) -> None:
        key = await new_key(alice, "account")
        other = await log_in(client, "alice")
        done = call("user", "set-password", "Alice", stdin="a fine new phrase\n")
        assert (done.returncode, done.stdout) == (0, "Set the password of alice, 2 logins ended.\n"), done.stderr
        assert await status_of(client, "/users/me", other.headers) == 401
        await alice.get("/users/me", expect=401)
        assert await status_of(client, "/users/me", key.in_header) == 200
        refused = await client.post("/api/v1/token", data={"username": "alice", "password": PASSWORD})
        assert refused.status_code == 401
        await log_in(client, "alice", "a fine new phrase")

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ("short", "must have at least 8"),
            ("password", "most common"),
            ("alice@example.com", "must not be"),
            ("", "8"),
        ],
    )
    async def test_a_weak_one_is_refused(
        self, call: Run, alice: Person, database: Database, given: str, told: str
    ) -> None:
        before = await digests(database)
        refused = call("user", "set-password", "alice", stdin=f"{given}\n")
        assert refused.returncode == 2
        assert refused.stderr.startswith("taskmanager: PASSWORD: ")
        assert told in refused.stderr
        assert await digests(database) == before

    async def test_an_argument_is_refused(self, call: Run, alice: Person, database: Database) -> None:
        before = await digests(database)
        assert call("user", "set-password", "alice", "a fine new phrase").returncode == 2
        assert await digests(database) == before


class TestKeys:
    """No key is made that opens nothing."""

    async def test_for_a_disabled_account(self, call: Run, alice: Person, database: Database) -> None:
        call("user", "disable", "alice")
        refused = call("key", "create", "alice", "--name", "x", "--scope", "account")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr == (
            "taskmanager: alice is disabled, so a key of theirs would open nothing: taskmanager user enable alice\n"
        )
        assert await fetch_all(database, "SELECT id FROM api_keys") == []

    @pytest.mark.parametrize("days", ["0", "-1"])
    async def test_that_has_ended(self, call: Run, alice: Person, database: Database, days: str) -> None:
        refused = call("key", "create", "alice", "--name", "x", "--scope", "account", "--expires-in-days", days)
        assert refused.returncode == 2
        assert await fetch_all(database, "SELECT id FROM api_keys") == []
