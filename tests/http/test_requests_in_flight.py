"""More requests than may be in flight are refused, probes are not."""

import asyncio

import pytest

from taskmanager.main import create_app
from tests.conftest import make_settings
from tests.support.applications import started
from tests.support.front_answers import ORIGIN


class TestRequestsInFlight:
    """One more than a process may hold is refused at once; probes never are."""

    async def test_are_bounded(self, database_url: str) -> None:
        app = create_app(make_settings(database_url=database_url, max_requests_in_flight=3))
        go_on = asyncio.Event()
        waiting = asyncio.Semaphore(0)

        async def wait() -> None:
            waiting.release()
            await go_on.wait()

        app.add_api_route("/wait", wait, include_in_schema=False, status_code=204)
        async with started(app) as client, asyncio.TaskGroup() as group:
            held = [group.create_task(client.get("/wait")) for _ in range(3)]
            for _ in held:
                await waiting.acquire()
            for method, path in (
                ("GET", "/api/v1/tasks"),
                ("POST", "/api/v1/tasks"),
                ("GET", "/docs"),
                ("GET", "/nope"),
            ):
                refused = await client.request(method, path, headers={"Origin": ORIGIN})
                assert refused.status_code == 503
                assert refused.headers["Content-Type"] == "application/problem+json"
                assert refused.headers["Retry-After"] == "1"
                assert refused.headers["Access-Control-Allow-Origin"] == ORIGIN
                assert refused.json()["type"] == "/docs/problems#overloaded"
                assert refused.json()["request_id"] == refused.headers["X-Request-ID"]
            assert (await client.head("/nope")).content == b""
            for path in ("/", "/health", "/livez", "/readyz"):
                assert (await client.get(path)).status_code == 200
            go_on.set()
            assert {(await request).status_code for request in held} == {204}
            # Refusals took no place, and those that were held have given theirs back.
            for _ in range(6):
                assert (await client.get("/api/v1/tasks")).status_code == 401

    async def test_give_their_place_back_when_they_fail_or_are_cancelled(self, database_url: str) -> None:
        app = create_app(make_settings(database_url=database_url, max_requests_in_flight=1))
        waiting = asyncio.Event()

        async def fail() -> None:
            raise RuntimeError

        async def wait() -> None:
            waiting.set()
            await asyncio.Event().wait()

        app.add_api_route("/fail", fail, include_in_schema=False)
        app.add_api_route("/wait", wait, include_in_schema=False)
        async with started(app) as client:
            assert (await client.get("/fail")).status_code == 500
            held = asyncio.create_task(client.get("/wait"))
            await waiting.wait()
            assert (await client.get("/nope")).status_code == 503
            held.cancel()
            with pytest.raises(asyncio.CancelledError):
                await held
            assert (await client.get("/nope")).status_code == 404
