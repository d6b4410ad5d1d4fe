"""The setting API_KEY, which may administer too."""

from collections.abc import AsyncIterator

import httpx
import pytest

from taskmanager.database.database import Database
from taskmanager.main import create_app
from tests.conftest import Person, make_settings
from tests.support.administration import CONFIGURED, ROUTES, call
from tests.support.applications import started
from tests.support.credentials import API, Key, bearer, status_of
from tests.support.event_log import events_of
from tests.support.problem_answers import kind_of
from tests.support.rows import digests


class TestConfiguredKey:
    """The setting API_KEY: off by default, and then as good as an administrator's key."""

    @pytest.fixture
    async def configured(self, database_url: str, database: Database) -> AsyncIterator[httpx.AsyncClient]:
        """The service with the setting."""
        app = create_app(make_settings(database_url=database_url, api_key=CONFIGURED))
        async with started(app) as client:
            yield client

    async def test_works_in_both_headers(self, configured: httpx.AsyncClient, alice: Person) -> None:
        for headers in ({"X-API-Key": CONFIGURED}, bearer(CONFIGURED)):
            answer = await call(configured, "GET", "/admin/users", headers)
            assert (answer.status_code, answer.json()["users"][0]["id"]) == (200, alice.id)
            for action in ("disable", "enable"):
                path = f"/admin/users/{alice.id}/{action}"
                assert await status_of(configured, path, headers, "POST") == 200

    async def test_clears_tasks_as_nobody(
        self, configured: httpx.AsyncClient, alice: Person, database: Database
    ) -> None:
        task = await alice.new_task()
        answer = await call(configured, "DELETE", "/admin/clear-tasks", {"X-API-Key": CONFIGURED})
        assert answer.json() == {"message": "All tasks deleted"}
        assert (await events_of(database, "task", task["id"]))[-1]["actor_id"] is None

    async def test_anything_near_it_is_refused(
        self, configured: httpx.AsyncClient, alice: Person, database: Database
    ) -> None:
        before = await digests(database)
        for text in (CONFIGURED[:-1], f"{CONFIGURED}x", CONFIGURED.upper(), "x" * len(CONFIGURED)):
            answer = await call(configured, "DELETE", "/admin/clear-tasks", {"X-API-Key": text})
            assert (answer.status_code, kind_of(answer)) == (403, "wrong-admin-key"), text
            assert (await call(configured, "DELETE", "/admin/clear-tasks", bearer(text))).status_code == 401
        assert await digests(database) == before

    async def test_has_no_account_to_keep_an_answer_for(
        self, configured: httpx.AsyncClient, alice: Person, database: Database
    ) -> None:
        before = await digests(database)
        headers = {"X-API-Key": CONFIGURED, "Idempotency-Key": "a-key"}
        for method, path in (route for route in ROUTES if route[0] != "GET"):
            answer = await call(configured, method, path.format(id=alice.id), headers)
            assert (answer.status_code, kind_of(answer)) == (400, "malformed-header"), path
        assert await digests(database) == before

    async def test_keys_of_administrators_stay_good(self, configured: httpx.AsyncClient, key: Key) -> None:
        for headers in (key.in_header, key.as_bearer):
            assert await status_of(configured, "/admin/users", headers) == 200

    async def test_opens_nothing_but_administration(self, configured: httpx.AsyncClient, alice: Person) -> None:
        for path in ("/users/me", "/tasks", "/projects", "/users/me/api-keys"):
            for headers in ({"X-API-Key": CONFIGURED}, bearer(CONFIGURED)):
                assert await status_of(configured, path, headers) == 401

    async def test_non_ascii_bytes_are_refused(self, configured: httpx.AsyncClient) -> None:
        headers = [(b"x-api-key", "é".encode("latin-1") * 40)]
        answer = await configured.get(f"{API}/admin/users", headers=headers)
        assert answer.status_code == 403

    async def test_is_off_by_default(self, client: httpx.AsyncClient) -> None:
        assert make_settings().api_key is None
        assert await status_of(client, "/admin/users", {"X-API-Key": CONFIGURED}) == 403
        assert await status_of(client, "/admin/users", {"X-API-Key": ""}) == 401
        assert await status_of(client, "/admin/users", {"X-API-Key": "None"}) == 403
        assert await status_of(client, "/admin/users", bearer("None")) == 401

    def test_must_be_long(self) -> None:
        with pytest.raises(ValueError, match="at least 32"):
            make_settings(api_key="x" * 31)
        assert make_settings(api_key="x" * 32).api_key is not None
