"""Administration: accounts of everybody, and clearing all tasks."""

import httpx
import pytest

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.administration import CONFIGURED, ROUTES, call
from tests.support.credentials import ALL_BUT_ADMIN, Key, bearer, log_in, new_key, status_of
from tests.support.event_log import events_of
from tests.support.problem_answers import kind_of
from tests.support.rows import digests, execute, fetch_all


class TestUsers:
    """GET /admin/users, and disabling and enabling one of them."""

    async def test_lists_all_accounts_oldest_first(
        self, client: httpx.AsyncClient, key: Key, administrator: Person, alice: Person, bob: Person
    ) -> None:
        answer = (await call(client, "GET", "/admin/users", key.in_header)).json()
        assert [user["id"] for user in answer["users"]] == [administrator.id, alice.id, bob.id]
        assert answer["next_cursor"] is None
        second = answer["users"][1]
        assert second == {
            "id": alice.id,
            "username": "alice",
            "email": "alice@example.com",
            "disabled": False,
            "is_admin": False,
            "display_name": None,
            "time_zone": "UTC",
            "created_at": second["created_at"],
        }
        assert answer["users"][0]["is_admin"] is True

    async def test_disables_and_enables(
        self, client: httpx.AsyncClient, key: Key, alice: Person, database: Database
    ) -> None:
        for action, disabled in (("disable", True), ("disable", True), ("enable", False), ("enable", False)):
            answer = await call(client, "POST", f"/admin/users/{alice.id}/{action}", key.in_header)
            assert answer.status_code == 200
            assert (answer.json()["id"], answer.json()["disabled"]) == (alice.id, disabled)
            await alice.get("/users/me", expect=401 if disabled else 200)
            listed = (await call(client, "GET", "/admin/users", key.in_header)).json()["users"]
            assert [user["disabled"] for user in listed if user["id"] == alice.id] == [disabled]
        rows = await fetch_all(database, "SELECT id FROM users WHERE disabled")
        assert rows == []

    async def test_disabling_touches_nobody_else(
        self, client: httpx.AsyncClient, key: Key, alice: Person, bob: Person, database: Database
    ) -> None:
        await call(client, "POST", f"/admin/users/{alice.id}/disable", key.in_header)
        rows = await fetch_all(database, "SELECT id FROM users WHERE disabled")
        assert rows == [{"id": alice.id}]
        await bob.get("/users/me")

    @pytest.mark.parametrize("action", ["disable", "enable"])
    async def test_an_unknown_account_is_404(
        self, client: httpx.AsyncClient, key: Key, database: Database, action: str
    ) -> None:
        before = await digests(database)
        assert await status_of(client, f"/admin/users/{2**52}/{action}", key.in_header, "POST") == 404
        assert await digests(database) == before

    @pytest.mark.parametrize("written", ["0", "-1", "x", "1.0", "1_0", str(2**63)])
    async def test_an_id_that_is_none_is_422(self, client: httpx.AsyncClient, key: Key, written: str) -> None:
        assert await status_of(client, f"/admin/users/{written}/disable", key.in_header, "POST") == 422

    @pytest.mark.parametrize(("method", "path"), ROUTES)
    async def test_an_unknown_query_parameter_is_422_and_changes_nothing(
        self, client: httpx.AsyncClient, key: Key, alice: Person, database: Database, method: str, path: str
    ) -> None:
        await alice.new_task()
        before = await digests(database)
        answer = await call(client, method, f"{path.format(id=alice.id)}?sudo=1", key.in_header)
        assert answer.status_code == 422
        assert await digests(database) == before


class TestClearTasks:
    """DELETE /admin/clear-tasks."""

    async def test_deletes_all_tasks_with_their_comments_and_says_so(
        self, client: httpx.AsyncClient, key: Key, alice: Person, bob: Person, database: Database
    ) -> None:
        archived = await bob.new_project()
        tasks = [await alice.new_task(), await bob.new_task(archived)]
        await alice.post(f"/tasks/{tasks[0]['id']}/comments", {"body": "Hello"})
        await bob.patch(f"/projects/{archived}", {"archived": True})
        answer = await call(client, "DELETE", "/admin/clear-tasks", key.in_header)
        assert (answer.status_code, answer.json()) == (200, {"message": "All tasks deleted"})
        for table in ("tasks", "comments"):
            assert await fetch_all(database, f"SELECT * FROM {table}") == []
        for person in (alice, bob):
            assert (await person.get("/tasks")).json()["total"] == 0
        await bob.get(f"/projects/{archived}")

    async def test_logs_every_one(
        self, client: httpx.AsyncClient, key: Key, administrator: Person, alice: Person, database: Database
    ) -> None:
        task = await alice.new_task(title="Gone")
        await call(client, "DELETE", "/admin/clear-tasks", key.in_header)
        assert (await events_of(database, "task", task["id"]))[-1] == {
            "project_id": alice.inbox_id,
            "actor_id": administrator.id,
            "version": task["version"] + 1,
            "action": "deleted",
            "changes": {},
        }

    async def test_with_nothing_to_clear_it_says_the_same(self, client: httpx.AsyncClient, key: Key) -> None:
        for _ in range(2):
            answer = await call(client, "DELETE", "/admin/clear-tasks", key.as_bearer)
            assert (answer.status_code, answer.json()) == (200, {"message": "All tasks deleted"})


class TestCredentials:
    """Who is let in, and how the others are told."""

    @pytest.fixture
    async def task_id(self, alice: Person) -> int:
        """Something to lose."""
        return int((await alice.new_task())["id"])

    @pytest.fixture(params=ROUTES, ids=[f"{method} {path}" for method, path in ROUTES])
    async def route(self, request: pytest.FixtureRequest, alice: Person, task_id: int) -> tuple[str, str]:
        """Each route of administration."""
        method, path = request.param
        return method, path.format(id=alice.id)

    async def test_both_headers_are_good(self, client: httpx.AsyncClient, key: Key, route: tuple[str, str]) -> None:
        for headers in (key.in_header, key.as_bearer):
            assert (await call(client, *route, headers)).status_code == 200

    async def test_none_is_401(self, client: httpx.AsyncClient, database: Database, route: tuple[str, str]) -> None:
        before = await digests(database)
        answer = await call(client, *route, {})
        assert (answer.status_code, kind_of(answer)) == (401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert await digests(database) == before

    async def test_a_login_token_is_401_even_an_administrators(
        self,
        client: httpx.AsyncClient,
        administrator: Person,
        alice: Person,
        database: Database,
        route: tuple[str, str],
    ) -> None:
        tokens = await log_in(client, "administrator")
        before = await digests(database)
        for token in (administrator.token, tokens.access, tokens.refresh, alice.token, "x", CONFIGURED):
            answer = await call(client, *route, bearer(token))
            assert (answer.status_code, kind_of(answer)) == (401, "invalid-token"), token
            assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
        assert await digests(database) == before

    async def test_a_wrong_key_is_403(
        self, client: httpx.AsyncClient, key: Key, database: Database, route: tuple[str, str]
    ) -> None:
        before = await digests(database)
        wrong = ("x", "tm_1_x", key.text[:-1], f"{key.text}x", f"tm_{key.id}_{'x' * 43}", CONFIGURED)
        for text in wrong:
            answer = await call(client, *route, {"X-API-Key": text})
            assert (answer.status_code, kind_of(answer)) == (403, "wrong-admin-key"), text
        for text in wrong[1:-1]:
            answer = await call(client, *route, bearer(text))
            assert (answer.status_code, kind_of(answer)) == (403, "wrong-admin-key"), text
        assert await digests(database) == before

    async def test_a_wrong_key_is_403_beside_a_good_one(
        self, client: httpx.AsyncClient, key: Key, database: Database, route: tuple[str, str]
    ) -> None:
        before = await digests(database)
        assert (await call(client, *route, {"X-API-Key": "tm_1_x", **key.as_bearer})).status_code == 403
        assert await digests(database) == before

    async def test_without_the_scope_it_is_403_naming_it(
        self, client: httpx.AsyncClient, administrator: Person, database: Database, route: tuple[str, str]
    ) -> None:
        other = await new_key(administrator, *ALL_BUT_ADMIN)
        before = await digests(database)
        for headers in (other.in_header, other.as_bearer):
            answer = await call(client, *route, headers)
            assert (answer.status_code, kind_of(answer), answer.json()["scope"]) == (403, "scope-missing", "admin")
        assert await digests(database) == before

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE users SET is_admin = false WHERE username = 'administrator'",
            "UPDATE users SET disabled = true WHERE username = 'administrator'",
            "UPDATE api_keys SET expires_at = now()",
            "DELETE FROM api_keys",
        ],
    )
    async def test_a_key_that_lost_its_right_is_403(
        self, client: httpx.AsyncClient, key: Key, database: Database, route: tuple[str, str], change: str
    ) -> None:
        await execute(database, change)
        before = await digests(database)
        for headers in (key.in_header, key.as_bearer):
            answer = await call(client, *route, headers)
            assert (answer.status_code, kind_of(answer)) == (403, "wrong-admin-key")
        assert await digests(database) == before

    async def test_a_scope_that_an_ordinary_user_got_somehow_is_403(
        self, client: httpx.AsyncClient, alice: Person, database: Database, route: tuple[str, str]
    ) -> None:
        mine = await new_key(alice, "account")
        await execute(database, "UPDATE api_keys SET scopes = '{admin}'")
        before = await digests(database)
        answer = await call(client, *route, mine.in_header)
        assert (answer.status_code, kind_of(answer)) == (403, "wrong-admin-key")
        assert await digests(database) == before

    async def test_an_admin_key_opens_nothing_but_administration(
        self, client: httpx.AsyncClient, key: Key, task_id: int
    ) -> None:
        for path in ("/tasks", f"/tasks/{task_id}", "/projects", "/users/me/sessions", "/users/me/api-keys"):
            assert await status_of(client, path, key.in_header) == 403
        assert await status_of(client, "/users/me", key.in_header) == 200
