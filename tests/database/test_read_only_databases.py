"""A server that takes no writes is not ready; once it does again, nothing has to be restarted."""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from alembic import command
from asyncpg import ReadOnlySQLTransactionError
from sqlalchemy import make_url

from taskmanager.database.database import Database
from taskmanager.database.schema_migrations import alembic_config
from taskmanager.database.statements import Statement
from taskmanager.database.writes import Writes
from taskmanager.embedded.embedded_postgres import EmbeddedPostgres
from taskmanager.embedded.server import Server
from taskmanager.main import create_app
from tests.conftest import PASSWORD, make_settings
from tests.support.applications import started, without_lifespan
from tests.support.credentials import log_in
from tests.support.database_reports import (
    SEQUENCE,
    WRITE_ALL,
    ask_readiness,
    execute,
    outcome,
    problems_of,
    readiness_of,
)
from tests.support.databases import migrated, temporary_database, temporary_role
from tests.support.server import FAST

pytestmark = pytest.mark.usefixtures("fresh_readiness")


class TestReadOnly:
    """By its settings, or as a standby."""

    @pytest.mark.parametrize("where", ["DATABASE {database}", "ROLE {role}", "ROLE {role} IN DATABASE {database}"])
    async def test_a_database_or_a_role(self, database_url: str, tmp_path: Path, where: str) -> None:
        async with (
            temporary_database(database_url, migrated(database_url)) as owner,
            temporary_role(owner, WRITE_ALL, SEQUENCE) as url,
        ):
            place = where.format(role=make_url(url).username, database=make_url(url).database)
            app = create_app(make_settings(database_url=url))
            async with without_lifespan(app) as client:
                assert await ask_readiness(client) == (200, "")
                await execute(owner, f"ALTER {place} SET default_transaction_read_only = on")
                # The connection that is open may still write, those to come may not.
                assert await ask_readiness(client) == (503, "the database is read-only")
                (problem,) = await problems_of(url)
                remedy = f"SET default_transaction_read_only = off; ALTER {place} RESET default_transaction_read_only"
                assert problem == f"the database is read-only: {remedy}"
                assert await outcome(url, tmp_path, "serve") == (2, f"taskmanager: {problem}\n")
                assert await outcome(url, tmp_path, "migrate") == (2, f"taskmanager: {problem}\n")
                assert await ask_readiness(client) == (503, "the database is read-only")
                await execute(owner, *remedy.split("; "))
                assert await ask_readiness(client) == (200, "")

    async def test_a_role_that_may_write_in_a_database_that_may_not(self, database_url: str) -> None:
        async with (
            temporary_database(database_url, migrated(database_url)) as owner,
            temporary_role(owner, WRITE_ALL, SEQUENCE) as url,
        ):
            await execute(
                owner,
                f"ALTER DATABASE {make_url(url).database} SET default_transaction_read_only = on",
                f"ALTER ROLE {make_url(url).username} SET default_transaction_read_only = off",
            )
            assert await readiness_of(url) == (200, "")

    @pytest.mark.server_itself("what is set for a role reaches each new connection")
    async def test_connections_that_were_opened_meanwhile_are_replaced(self, database_url: str) -> None:
        async with temporary_database(database_url, migrated(database_url)) as url:
            name = make_url(url).database
            await execute(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            database = Database(make_settings(database_url=url))
            writes = Writes(database, None)
            try:
                assert await writes.one(Statement("read", "SELECT 1")) is not None
                await execute(
                    url,
                    "SET default_transaction_read_only = off",
                    f"ALTER DATABASE {name} RESET default_transaction_read_only",
                )
                delete = Statement("delete", "DELETE FROM tasks")
                with pytest.raises(ReadOnlySQLTransactionError):
                    await writes.one(delete)
                assert await writes.one(delete) is None
            finally:
                await writes.close()
                await database.dispose()

    async def test_a_standby_until_it_is_promoted(self, standby: "Standby", tmp_path: Path) -> None:
        app = create_app(make_settings(database_url=standby.server.address))
        async with started(app) as client:
            assert await ask_readiness(client) == (200, "")
            follower = await follow(client)
            await asyncio.to_thread(standby.become)
            reason = "the database server is a standby and read-only"
            assert await ask_readiness(client) == (503, reason)
            assert await register(client, "dora") == 503
            # Reads go on, those of the log too.
            for query in (follower, {}):
                assert (await client.get("/api/v1/changes", params=query)).status_code == 200
            line = f"{reason}: DATABASE_URL must lead to the primary server"
            assert await problems_of(standby.server.address) == [line]
            assert await outcome(standby.server.address, tmp_path, "serve") == (2, f"taskmanager: {line}\n")
            assert await outcome(standby.server.address, tmp_path, "migrate") == (2, f"taskmanager: {line}\n")
            await execute(standby.server.address, "SELECT pg_promote()")
            assert await ask_readiness(client) == (200, "")
            assert await register(client, "emil") == 201
            # The end of the log may be lost with the primary, so its cursors lead nowhere.
            lost = await client.get("/api/v1/changes", params=follower)
            assert (lost.status_code, lost.json()["reason"]) == (410, "epoch")
            assert (await client.get("/api/v1/changes")).json()["changes"] != []

            # A server that is set to be read-only, as hosted ones are when their disk is nearly full.
            await execute(
                standby.server.address, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"
            )
            assert await until(client, 503) == "the database server is read-only"
            (problem,) = await problems_of(standby.server.address)
            assert problem.startswith("the database server is read-only: set default_transaction_read_only = off")
            await execute(
                standby.server.address,
                "ALTER SYSTEM RESET default_transaction_read_only",
                "SELECT pg_reload_conf()",
            )
            assert await until(client, 200) == ""
            assert await register(client, "fritz") == 201


async def follow(client: httpx.AsyncClient) -> dict[str, str]:
    """Log somebody in, load everything, and return the query that goes on from there."""
    assert await register(client, "anton") == 201
    client.headers.update((await log_in(client, "anton")).headers)
    page = (await client.get("/api/v1/changes")).json()
    assert page["changes"]
    return {"since": page["cursor"]}


async def register(client: httpx.AsyncClient, name: str) -> int:
    user = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
    return (await client.post("/api/v1/users", json=user)).status_code


async def until(client: httpx.AsyncClient, status: int) -> str:
    """Return the reason once `/readyz` has this status: a server reads its configuration again in its own time."""
    async with asyncio.timeout(5):
        while (answer := await ask_readiness(client))[0] != status:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return answer[1]


class StandbyServer(Server):
    """A server at one address, which answers as a standby too."""

    address = ""

    @property
    def url(self) -> str | None:
        """The URL, of a standby too."""
        pid_file = self._folder.process_file
        if pid_file.exists() and "standby" in pid_file.read_text():
            return self.address
        return super().url


class Standby(EmbeddedPostgres):
    """A server of its own at one address, which can be turned into a standby."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, FAST)
        self._server = self.server = StandbyServer(self._folder, FAST)

    def become(self) -> None:
        """Restart as a standby that waits for more from a primary."""
        self.stop()
        signal_file = self._folder.data / "standby.signal"
        signal_file.touch()
        owner = self._folder.cluster.stat()
        os.chown(signal_file, owner.st_uid, owner.st_gid)
        self.start()


@pytest.fixture
def standby() -> Iterator[Standby]:
    with tempfile.TemporaryDirectory(prefix="taskmanager-test-") as folder:
        Path(folder).chmod(0o711)  # as root the server runs under another account
        server = Standby(Path(folder))
        try:
            server.server.address = server.start()
            command.upgrade(alembic_config(server.server.address), "head")
            yield server
        finally:
            server.remove()
