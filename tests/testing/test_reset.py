"""A reset leaves an instance as if it had just started, but for the ids."""

import asyncio
import time
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import text

from taskmanager.database.database import Database
from tests.support.sessions import open_session
from tests.support.streams import InProcess, address

_SOON_SECONDS = 5.0


async def new_user(testing: httpx.AsyncClient) -> tuple[int, httpx.AsyncClient]:
    """Return the id of a new user, and a client of theirs."""
    found = (await testing.post("/testing/users")).json()
    transport = testing._transport
    headers = {"Authorization": f"Bearer {found['access_token']}"}
    return found["user"]["id"], httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers)


async def rows_of(database: Database) -> dict[str, int]:
    """Return how many rows each table has."""
    names = text("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
    async with open_session(database) as session:
        tables = [row.relname for row in await session.execute(names)]
        counts = {name: (await session.execute(text(f"SELECT count(*) FROM {name}"))).scalar_one() for name in tables}
    return {name: int(count) for name, count in counts.items()}


async def fill(user: httpx.AsyncClient) -> dict[str, Any]:
    """Write something of everything, and return a task."""
    project = (await user.post("/api/v1/projects", json={"name": "Garden"})).json()
    body = {"title": "Dig", "project_id": project["id"]}
    task: dict[str, Any] = (await user.post("/api/v1/tasks", json=body, headers={"Idempotency-Key": "once"})).json()
    assert (await user.post(f"/api/v1/tasks/{task['id']}/comments", json={"body": "Deep"})).status_code == 201
    key = {"name": "Robot", "scopes": ["tasks:read"]}
    assert (await user.post("/api/v1/users/me/api-keys", json=key)).status_code == 201
    return task


async def test_it_deletes_every_row_that_a_new_database_does_not_have(
    testing: httpx.AsyncClient, database: Database
) -> None:
    assert (await testing.post("/testing/reset")).status_code == 204
    empty = await rows_of(database)
    _, user = await new_user(testing)
    await fill(user)
    filled = await rows_of(database)
    assert {name for name in filled if filled[name] != empty[name]} >= {
        "users",
        "sessions",
        "api_keys",
        "projects",
        "project_members",
        "tasks",
        "comments",
        "events",
        "idempotency_keys",
    }
    assert (await testing.post("/testing/reset")).status_code == 204
    assert await rows_of(database) == empty
    assert {name: count for name, count in empty.items() if count} == {"event_log": 1, "taskmanager_schema": 1}


async def test_ids_go_on_and_old_tokens_fit_nobody(testing: httpx.AsyncClient) -> None:
    first_id, first = await new_user(testing)
    first_task = await fill(first)
    await testing.post("/testing/reset")
    second_id, second = await new_user(testing)
    second_task = await fill(second)
    assert second_id > first_id
    assert second_task["id"] > first_task["id"]
    assert (await first.get("/api/v1/tasks")).status_code == 401


async def test_what_is_large_is_emptied_as_well(testing: httpx.AsyncClient, database: Database) -> None:
    user_id, user = await new_user(testing)
    task = await fill(user)
    many = text("""
        INSERT INTO tasks (project_id, title, description, created_by)
        SELECT project_id, 'Row ' || n, repeat('x', 900), created_by FROM tasks, generate_series(1, 6000) n
        WHERE id = :task_id
    """)
    async with open_session(database) as session:
        await session.execute(many, {"task_id": task["id"]})
        await session.commit()
        assert (await session.execute(text("SELECT pg_relation_size('tasks')"))).scalar_one() > 4 * 1024 * 1024
    assert (await testing.post("/testing/reset")).status_code == 204
    assert sum((await rows_of(database)).values()) == 2
    async with open_session(database) as session:
        assert (await session.execute(text("SELECT pg_relation_size('tasks')"))).scalar_one() == 0
    later_id, later = await new_user(testing)
    assert later_id > user_id
    assert (await fill(later))["id"] > task["id"] + 6000


async def test_followers_learn_of_it(testing: httpx.AsyncClient, ephemeral_app: FastAPI) -> None:
    _, user = await new_user(testing)
    await fill(user)
    page = {"has_more": True, "cursor": None}
    while page["has_more"]:
        given = {} if page["cursor"] is None else {"since": page["cursor"]}
        page = (await user.get("/api/v1/changes", params=given)).json()
    waiting = asyncio.create_task(user.get("/api/v1/changes", params={"since": page["cursor"], "wait": 20}))
    while not len(ephemeral_app.state.followers):  # noqa: ASYNC110  # the product tells nobody
        await asyncio.sleep(0.01)
    began = time.monotonic()
    await testing.post("/testing/reset")
    answer = await waiting
    assert time.monotonic() - began < _SOON_SECONDS
    # Who waited is no user any more, and the log is another one; which is found first is a matter of time.
    assert answer.status_code in {401, 410}
    # Cursors of the time before lead nowhere, whoever shows them.
    _, other = await new_user(testing)
    later = await other.get("/api/v1/changes", params={"since": page["cursor"]})
    assert (later.status_code, later.json()["reason"]) == (410, "epoch")
    assert (await other.get("/api/v1/changes")).status_code == 200


async def test_open_streams_are_told_of_it(
    testing: httpx.AsyncClient, ephemeral_app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ephemeral_app.state.stream_feed, "longest_seconds", 3_600.0)
    _, user = await new_user(testing)
    stream = InProcess(ephemeral_app, address(), {"Authorization": user.headers["Authorization"]})
    await stream.named("ready")
    await fill(user)
    await stream.named("task.created")
    await testing.post("/testing/reset")
    # Who listened is no user any more, and the log is another one; which is found first is a matter of time.
    told = await stream.until(lambda frame: frame.event in {"reset", "bye"})
    assert told.data["reason"] in {"epoch", "revoked"}
    await stream.close()
    _, other = await new_user(testing)
    async with asyncio.timeout(_SOON_SECONDS):
        later = InProcess(ephemeral_app, address(), {"Authorization": other.headers["Authorization"]})
        await later.named("ready")
        task = await fill(other)
        assert (await later.named("task.created")).data["id"] == task["id"]
        await later.close()


async def test_what_is_under_way_is_in_no_one_s_way(testing: httpx.AsyncClient, database: Database) -> None:
    """Writers who go on while it is reset again and again get an answer of the contract, and nothing stays."""
    is_over = False
    statuses = set[int]()

    async def work() -> None:
        while not is_over:
            _, user = await new_user(testing)
            for _ in range(3):
                response = await user.post("/api/v1/tasks", json={"title": "Dig"})
                statuses.add(response.status_code)

    workers = [asyncio.create_task(work()) for _ in range(4)]
    for _ in range(15):
        assert (await testing.post("/testing/reset")).status_code == 204
    is_over = True
    await asyncio.gather(*workers)
    # A write that waits too long for the reset is 503.
    assert statuses <= {201, 401, 404, 503}
    assert (await testing.post("/testing/reset")).status_code == 204
    assert sum((await rows_of(database)).values()) == 2


async def test_one_after_the_other(testing: httpx.AsyncClient) -> None:
    for _ in range(40):
        _, user = await new_user(testing)
        await fill(user)
        began = time.monotonic()
        assert (await testing.post("/testing/reset")).status_code == 204
        assert time.monotonic() - began < 1  # nobody has had to be waited for until a deadlock was found


async def test_leases_of_rate_limits_are_given_up(ephemeral_app: FastAPI, testing: httpx.AsyncClient) -> None:
    leases = ephemeral_app.state.rate_limiter._leases
    leases["user", 1] = object()
    await testing.post("/testing/reset")
    assert not leases


async def test_a_query_is_refused(testing: httpx.AsyncClient) -> None:
    assert (await testing.post("/testing/reset?all=1")).status_code == 422
