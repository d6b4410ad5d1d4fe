"""Of two writes that wait for each other PostgreSQL ends one, which is done again as a whole."""

import asyncio

import httpx

from taskmanager.database.database import Database
from taskmanager.database.statements import Statement
from taskmanager.database.writes import Writes
from taskmanager.http.retries import retry_lost
from taskmanager.main import create_app
from tests.conftest import Person, make_settings
from tests.support.applications import started
from tests.support.event_log import count_rows, events_of
from tests.support.locks import until_blocked
from tests.support.project_writes import INSERT, names
from tests.support.rows import fetch_all
from tests.support.sessions import open_transaction

RENAME = Statement("rename", "UPDATE projects SET name = :name WHERE id = :project_id RETURNING id", {"name": "text"})


class TestDeadlocks:
    """Of two that wait for each other PostgreSQL ends one, which is done again as a whole."""

    async def test_what_it_ends_is_done_again(self, writes: Writes, database: Database) -> None:
        for name in ("a", "b"):
            await writes.one(INSERT, name=name)
        first, second = [row["id"] for row in await fetch_all(database, "SELECT id FROM projects ORDER BY id")]
        both_began = asyncio.Barrier(2)
        begun = 0

        async def rename(name: str, order: tuple[int, int]) -> None:
            nonlocal begun
            begun += 1
            must_meet = begun <= 2
            async with writes.transaction() as run:
                await run.one(RENAME, name=name, project_id=order[0])
                if must_meet:
                    await both_began.wait()
                await run.one(RENAME, name=name, project_id=order[1])

        await asyncio.gather(
            retry_lost(lambda: rename("one", (first, second))), retry_lost(lambda: rename("other", (second, first)))
        )
        assert begun == 3
        assert len(set(await names(database))) == 1
        assert writes.connections.in_use == 0

    async def test_a_compiled_handler_is_called_again(
        self, alice: Person, database: Database, database_url: str
    ) -> None:
        target, task = await alice.new_project(), (await alice.new_task())["id"]
        app = create_app(make_settings(database_url=database_url))
        headers = {"Authorization": f"Bearer {alice.token}"}
        async with started(app) as client:
            client.headers.update(headers)
            writes: Writes = app.state.writes
            # The move has locked the task and waits for its target; here it is the other way round.
            async with open_transaction(database) as session:
                connection = await session.connection()
                await connection.exec_driver_sql("SET LOCAL deadlock_timeout = '10s'")
                await connection.exec_driver_sql(f"SELECT FROM projects WHERE id = {target} FOR UPDATE")
                moving = asyncio.create_task(client.patch(f"/api/v1/tasks/{task}", json={"project_id": target}))
                await until_blocked(database)
                await connection.exec_driver_sql(f"SELECT FROM tasks WHERE id = {task} FOR UPDATE")
            moved: httpx.Response = await moving
        assert (moved.status_code, moved.json()["project_id"], moved.json()["version"]) == (200, target, 2)
        assert writes.rows == 2  # the first was rolled back as a whole
        log = await events_of(database, "task", task)
        assert [event["version"] for event in log] == [1, 2, 2]
        assert await count_rows(database, "tasks") == 1
