"""A login's read checks it in the same statement: nothing that was read is answered to one that has ended."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeAlias

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from taskmanager.accounts.authentication import CallerAuthentication
from taskmanager.accounts.callers import AccountCaller, Callers, Credential
from taskmanager.database.database import Database
from taskmanager.main import create_app
from tests.conftest import Person, client_for, make_settings
from tests.support.applications import started
from tests.support.credentials import ALL_BUT_ADMIN, API, bearer, log_in, new_key
from tests.support.rows import execute

MARKER = "classified"
REQUESTS = 200
AT_ONCE = 20
Change: TypeAlias = "Callable[[Database, Person, int], Coroutine[Any, Any, None]]"


async def revoke_session(database: Database, person: Person, _project_id: int) -> None:
    """End the person's login."""
    await execute(database, "UPDATE sessions SET revoked_at = now() WHERE id = :id", id=person.session_id)


async def disable_user(database: Database, person: Person, _project_id: int) -> None:
    """Disable the person's account."""
    await execute(database, "UPDATE users SET disabled = true WHERE id = :id", id=person.id)


async def remove_member(database: Database, person: Person, project_id: int) -> None:
    """Take the person out of the project."""
    ids = {"project_id": project_id, "user_id": person.id}
    await execute(
        database,
        "WITH unassigned AS (UPDATE tasks SET assignee_id = NULL WHERE project_id = :project_id)"
        " DELETE FROM project_members WHERE project_id = :project_id AND user_id = :user_id",
        **ids,
    )


@pytest.fixture
async def project_id(alice: Person, bob: Person) -> int:
    """A project of Alice's in which Bob is a member, too."""
    project_id = await alice.new_project(f"A {MARKER} project")
    await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "editor"})
    return project_id


@pytest.fixture
async def paths(alice: Person, bob: Person, project_id: int) -> list[str]:
    """What Bob can read of it, in all ways in which a login can read."""
    task = (await alice.new_task(project_id, title=f"A {MARKER} task", assignee_id=bob.id))["id"]
    comment = (await alice.post(f"/tasks/{task}/comments", {"body": f"A {MARKER} comment"})).json()["id"]
    project = f"/projects/{project_id}"
    return [
        *(f"{project}{rest}" for rest in ("", "/tasks", f"/tasks/{task}", "/activity", "/members")),
        *(f"/tasks/{task}{rest}" for rest in ("", "/comments", f"/comments/{comment}", "/activity")),
        *("/tasks", "/tasks?status=pending", "/tasks?search=classified", "/tasks?count=none&sort_by=title"),
        *("/projects", "/notifications", "/users/me", "/users/me/sessions", "/users/me/api-keys"),
        f"{project}/members/{bob.id}",
    ]


@pytest.mark.parametrize("change", [revoke_session, disable_user, remove_member], ids=lambda change: change.__name__)
async def test_a_request_that_arrives_after_a_revocation_is_refused(
    database: Database, bob: Person, project_id: int, paths: list[str], change: Change
) -> None:
    is_committed = False
    before: list[httpx.Response] = []
    after: list[httpx.Response] = []
    unsent = iter(paths * (REQUESTS // len(paths) + 1))
    halfway = asyncio.Event()

    async def work() -> None:
        for path in unsent:
            answers = after if is_committed else before
            answers.append(await bob.get(path, expect=None))
            if len(before) >= REQUESTS // 2:
                halfway.set()
            if len(before) + len(after) >= REQUESTS and after:
                return

    workers = [asyncio.create_task(work()) for _ in range(AT_ONCE)]
    await halfway.wait()
    await change(database, bob, project_id)
    is_committed = True
    await asyncio.gather(*workers)
    # Without a break none may come after it: each path once more.
    after += await asyncio.gather(*(bob.get(path, expect=None) for path in paths))
    assert [answer.text for answer in before if answer.status_code not in {200, 401, 404}] == []
    assert sum(answer.status_code == 200 for answer in before) >= REQUESTS // 4
    assert [answer.url for answer in after if MARKER in answer.text] == []
    if change is not remove_member:
        assert {answer.status_code for answer in after} == {401}
        assert all("WWW-Authenticate" in answer.headers for answer in after)
    for answer in (*before, *after):
        assert answer.status_code == 200 or MARKER not in answer.text


@pytest.mark.parametrize("change", [revoke_session, disable_user], ids=lambda change: change.__name__)
async def test_a_login_that_ends_before_its_read_is_sent_is_refused(
    database: Database,
    bob: Person,
    project_id: int,
    paths: list[str],
    monkeypatch: pytest.MonkeyPatch,
    change: Change,
) -> None:
    admit = CallerAuthentication.admit

    async def end_afterwards(*given: Any) -> Any:
        admitted = await admit(*given)
        await change(database, bob, project_id)
        return admitted

    monkeypatch.setattr(CallerAuthentication, "admit", end_afterwards)
    for path in paths:
        if path == "/users/me":
            continue  # looked up before
        answer = await bob.get(path, expect=401)
        assert answer.json()["type"] == "/docs/problems#invalid-token", path
        assert "WWW-Authenticate" in answer.headers
        assert MARKER not in answer.text
        assert not {"ETag", "Link", "RateLimit"} & {*answer.headers}
        await execute(database, "UPDATE sessions SET revoked_at = NULL WHERE id = :id", id=bob.session_id)
        await execute(database, "UPDATE users SET disabled = false WHERE id = :id", id=bob.id)


class TestLookUps:
    """When a caller is looked up by a statement of its own."""

    @pytest.fixture
    def looked_up(self, monkeypatch: pytest.MonkeyPatch) -> list[Credential]:
        """The credentials that were."""
        credentials: list[Credential] = []
        find = Callers.find

        async def find_and_note(self: Callers, credential: Credential) -> AccountCaller:
            credentials.append(credential)
            return await find(self, credential)

        monkeypatch.setattr(Callers, "find", find_and_note)
        return credentials

    async def test_a_login_that_holds_is_only_where_the_account_is_needed(
        self, bob: Person, paths: list[str], looked_up: list[Credential]
    ) -> None:
        for path in (*paths, "/tasks/999999", "/projects/999999/tasks"):
            looked_up.clear()
            await bob.get(path, 404 if "999999" in path else 200)
            assert len(looked_up) == (path == "/users/me"), path

    async def test_an_api_key_is_everywhere(self, bob: Person, paths: list[str], looked_up: list[Credential]) -> None:
        key = await new_key(bob, *ALL_BUT_ADMIN)
        bob.client.headers = httpx.Headers({"X-API-Key": key.text})
        for path in paths:
            looked_up.clear()
            await bob.get(path)
            assert len(looked_up) == 1, path

    async def test_a_login_whose_handler_fails_before_its_read_is_afterwards(
        self, bob: Person, database: Database, project_id: int, looked_up: list[Credential]
    ) -> None:
        for path in ("/tasks", f"/projects/{project_id}/tasks", "/projects", "/notifications"):
            looked_up.clear()
            await bob.get(f"{path}?cursor=nonsense", expect=400)
            assert len(looked_up) == 1, path
        await revoke_session(database, bob, project_id)
        for path in ("/tasks", f"/projects/{project_id}/tasks", "/projects", "/notifications"):
            await bob.get(f"{path}?cursor=nonsense", expect=401)


class TestLostLookUp:
    """One that PostgreSQL rolls back in favour of others is made again."""

    @pytest.fixture
    def lose_the_next(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
        """Have the next look-up of a caller given up."""
        find, to_lose = Callers.find, 0

        async def lose_or_find(self: Callers, credential: Credential) -> AccountCaller:
            nonlocal to_lose
            if to_lose:
                to_lose -= 1
                raise asyncpg.DeadlockDetectedError("deadlock detected")
            return await find(self, credential)

        def lose_the_next() -> None:
            nonlocal to_lose
            to_lose += 1

        monkeypatch.setattr(Callers, "find", lose_or_find)
        return lose_the_next

    async def test_of_an_account(self, bob: Person, lose_the_next: Callable[[], None]) -> None:
        lose_the_next()
        await bob.get("/users/me")

    async def test_of_a_login_whose_handler_has_failed(self, bob: Person, lose_the_next: Callable[[], None]) -> None:
        lose_the_next()
        await bob.get("/tasks?cursor=nonsense", expect=400)

    async def test_of_an_administrator(self, administrator: Person, lose_the_next: Callable[[], None]) -> None:
        lose_the_next()
        await administrator.get("/admin/users")


class TestOrder:
    """Who calls is asked before what they ask for, and before how often."""

    async def test_an_ended_login_is_401_whatever_it_asks_for(
        self, bob: Person, database: Database, paths: list[str], project_id: int
    ) -> None:
        await revoke_session(database, bob, project_id)
        missing = [f"/tasks/999999{rest}" for rest in ("", "/comments", "/comments/1", "/activity")]
        missing += [f"/projects/999999{rest}" for rest in ("", "/tasks", "/members", "/activity", "/tasks/1")]
        cursors = [f"{path}?cursor=nonsense" for path in ("/tasks", "/projects", "/notifications")]
        for path in (*paths, *missing, *cursors, "/tasks/0", "/tasks?unknown=1", "/tasks?limit=0"):
            assert (await bob.get(path, expect=401)).json()["type"] == "/docs/problems#invalid-token", path

    async def test_a_missing_thing_is_404_for_one_who_may_call(self, bob: Person, alice: Person) -> None:
        await bob.get("/tasks/999999", expect=404)
        await bob.get(f"/projects/{alice.inbox_id}", expect=404)


@pytest.mark.usefixtures("patient_limiter")
class TestLimit:
    """A login that has ended neither takes a permit of its user's nor gives one back."""

    LIMIT = 6

    @pytest.fixture
    async def limited(self, database_url: str, database: Database) -> AsyncIterator[httpx.AsyncClient]:
        """A client of an application in which a user may make six requests a minute."""
        settings = make_settings(database_url=database_url, rate_limit_user_per_minute=self.LIMIT)
        async with started(create_app(settings)) as client:
            yield client

    @pytest.fixture
    async def ended(
        self, app: FastAPI, database: Database, bob: Person, project_id: int, paths: list[str]
    ) -> dict[str, str]:
        """The header of a login of Bob's that has ended; his other one is good."""
        headers = bearer(bob.token)
        async with client_for(app) as client:
            bob.client.headers.update((await log_in(client, "bob")).headers)
        await revoke_session(database, bob, project_id)
        return headers

    async def test_it_takes_nothing(
        self, limited: httpx.AsyncClient, bob: Person, ended: dict[str, str], paths: list[str]
    ) -> None:
        good = {"Authorization": bob.client.headers["Authorization"]}
        first = await limited.get(f"{API}/users/me", headers=good)
        assert first.headers["RateLimit"].startswith(f'"default";r={self.LIMIT - 1};')
        for path in paths:
            answer = await limited.get(f"{API}{path}", headers=ended)
            assert answer.status_code == 401, path
            assert "RateLimit" not in answer.headers
            assert MARKER not in answer.text
        second = await limited.get(f"{API}/users/me", headers=good)
        assert second.headers["RateLimit"].startswith(f'"default";r={self.LIMIT - 2};')

    async def test_at_the_limit_it_is_401_before_429_and_gives_nothing_back(
        self, limited: httpx.AsyncClient, bob: Person, ended: dict[str, str], paths: list[str]
    ) -> None:
        good = {"Authorization": bob.client.headers["Authorization"]}
        for _ in range(self.LIMIT):
            assert (await limited.get(f"{API}/tasks", headers=good)).status_code == 200
        for path in ("/tasks", "/users/me"):
            assert (await limited.get(f"{API}{path}", headers=good)).status_code == 429
        for path in paths:
            answer = await limited.get(f"{API}{path}", headers=ended)
            assert answer.status_code == 401, path
            assert "RateLimit" not in answer.headers
            assert "Retry-After" not in answer.headers
        for path in paths:
            assert (await limited.get(f"{API}{path}", headers=good)).status_code == 429, path
