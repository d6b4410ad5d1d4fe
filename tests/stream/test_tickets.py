"""Tickets: one stream each, for a browser that cannot send a credential."""

import asyncio
import json
from pathlib import Path

from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.main import create_app
from taskmanager.settings import Settings
from taskmanager.stream.feature import FEATURE
from tests.conftest import SECRET, Person
from tests.support.credentials import new_key
from tests.support.event_log import count_rows
from tests.support.jobs import run_job
from tests.support.live_server import LiveServer
from tests.support.rows import execute, fetch_all
from tests.support.streams import InProcess, OnSocket, address, listening


async def buy(person: Person, **options: object) -> str:
    """Return a ticket."""
    answer = (await person.client.post("/api/v1/events/ticket", **options)).json()  # type: ignore[arg-type]
    assert answer["expires_in"] == 30
    return str(answer["ticket"])


async def refusal(app: FastAPI, **query: object) -> tuple[int, str]:
    """Return status and kind of problem of a stream that is refused."""
    stream = await InProcess(app, address(**query), {}).begun()
    await stream.close()
    return stream.status, json.loads(stream.body)["code"]


async def test_a_ticket_opens_one_stream(app: FastAPI, alice: Person, database: Database) -> None:
    ticket = await buy(alice)
    (row,) = await fetch_all(database, "SELECT * FROM stream_tickets")
    assert ticket not in str(row)
    async with listening(app, None, ticket=ticket) as stream:
        await alice.new_task(title="Dig")
        assert await stream.titles(1) == ["Dig"]
        assert await refusal(app, ticket=ticket) == (401, "invalid-token")
    assert await count_rows(database, "stream_tickets") == 0


async def test_of_many_who_show_it_one_gets_in(app: FastAPI, alice: Person) -> None:
    ticket = await buy(alice)
    streams = [await InProcess(app, address(ticket=ticket), {}).begun() for _ in range(1)]
    streams += await asyncio.gather(*(InProcess(app, address(ticket=ticket), {}).begun() for _ in range(5)))
    assert sorted(stream.status for stream in streams) == [200, 401, 401, 401, 401, 401]
    for stream in streams:
        await stream.close()


async def test_a_ticket_is_good_in_any_process(app: FastAPI, alice: Person, settings: Settings) -> None:
    other = create_app(settings)
    async with other.router.lifespan_context(other):
        other.state.stream_feed.longest_seconds = 60.0
        async with listening(other, None, ticket=await buy(alice)) as stream:
            await alice.new_task(title="Dig")
            assert await stream.titles(1) == ["Dig"]


async def test_a_ticket_ends(app: FastAPI, alice: Person, database: Database) -> None:
    ticket = await buy(alice)
    await execute(database, "UPDATE stream_tickets SET expires_at = now() - interval '1 second'")
    assert await refusal(app, ticket=ticket) == (401, "invalid-token")
    await buy(alice)
    kept = await buy(alice)
    await execute(
        database,
        "UPDATE stream_tickets SET expires_at = now() - interval '1 second' WHERE secret_hash <> sha256(:kept)",
        kept=kept.encode(),
    )
    (job,) = FEATURE.jobs
    await run_job(job, app)
    assert await count_rows(database, "stream_tickets") == 1


async def test_a_ticket_ends_with_its_login(app: FastAPI, alice: Person, database: Database) -> None:
    ticket = await buy(alice)
    await execute(database, "UPDATE sessions SET revoked_at = now()")
    assert await refusal(app, ticket=ticket) == (401, "invalid-token")


async def test_a_key_buys_one_that_ends_with_the_key(app: FastAPI, alice: Person) -> None:
    key = await new_key(alice, "tasks:read", "projects:read")
    first, second = await buy(alice, headers=key.in_header), await buy(alice, headers=key.in_header)
    async with listening(app, None, ticket=first):
        pass
    await alice.delete(f"/users/me/api-keys/{key.id}")
    assert await refusal(app, ticket=second) == (401, "invalid-token")


async def test_what_is_no_ticket(app: FastAPI, alice: Person) -> None:
    for ticket in ("", "x", "x" * 5_000, "%00", "é"):
        assert await refusal(app, ticket=ticket) == (401, "invalid-token")


async def test_no_ticket_is_in_the_log(alice: Person, database_url: str, tmp_path: Path) -> None:
    server = LiveServer({"DATABASE_URL": database_url, "SECRET_KEY": SECRET}, tmp_path / "log")
    server.start()
    try:
        ticket = await buy(alice)
        listener = OnSocket()
        async with listener.open(server.url, {}, ticket=ticket):
            await asyncio.wait_for(listener.is_over.wait(), 10)
        assert [frame.event for frame in listener.frames] == ["", "bye"]
        assert listener.frames[-1].data == {"reason": "max_age"}
    finally:
        server.stop()
    assert '"/api/v1/events"' in server.log.read_text()
    assert ticket not in server.log.read_text()
