"""The tests of the tutorial that this API grew out of: its features keep their shapes."""

from typing import Any

import httpx
import pytest

from tests.conftest import PASSWORD, Person


async def test_the_root_greets(client: httpx.AsyncClient) -> None:
    response = await client.get("/")
    assert response.status_code == 200
    assert response.json() == {"message": "Welcome to the Task Manager API"}


async def test_health_says_healthy(client: httpx.AsyncClient) -> None:
    response = await client.get("/health")
    assert response.status_code == 200
    assert response.json() == {"status": "healthy"}


class TestTasks:
    """Create, read, update and delete."""

    async def test_create(self, alice: Person) -> None:
        body = {"title": "Write docs", "description": "All of them", "priority": 3, "tags": ["docs"]}
        task = (await alice.post("/tasks", body)).json()
        assert isinstance(task["id"], int)
        assert {name: task[name] for name in body} == body
        assert task["status"] == "pending"
        assert task["created_at"] == task["updated_at"]

    async def test_create_with_a_title_alone_takes_the_defaults(self, alice: Person) -> None:
        task = (await alice.post("/tasks", {"title": "Write docs"})).json()
        assert (task["description"], task["status"], task["priority"], task["tags"]) == (None, "pending", 1, [])

    async def test_read(self, alice: Person) -> None:
        created = await alice.new_task(title="Read me")
        assert (await alice.get(f"/tasks/{created['id']}")).json() == created

    async def test_put_changes_only_the_given_fields(self, alice: Person) -> None:
        created = await alice.new_task(title="Old", description="Kept", priority=4)
        updated = (await alice.put(f"/tasks/{created['id']}", {"title": "New", "status": "in_progress"})).json()
        assert (updated["title"], updated["status"]) == ("New", "in_progress")
        assert (updated["description"], updated["priority"]) == ("Kept", 4)
        assert updated["updated_at"] > created["updated_at"]
        assert (await alice.get(f"/tasks/{created['id']}")).json() == updated

    async def test_delete(self, alice: Person) -> None:
        task = await alice.new_task()
        response = await alice.delete(f"/tasks/{task['id']}")
        assert response.content == b""
        await alice.get(f"/tasks/{task['id']}", expect=404)

    @pytest.mark.parametrize(("method", "body"), [("GET", None), ("PUT", {"title": "New"}), ("DELETE", None)])
    async def test_an_unknown_id_is_404(self, alice: Person, method: str, body: Any) -> None:
        await alice.request(method, "/tasks/999999", expect=404, json=body)

    @pytest.mark.parametrize(
        "body",
        [
            {"title": ""},
            {"title": "x" * 201},
            {"title": "Fine", "description": "x" * 2001},
            {"title": "Fine", "priority": 10},
            {"title": "Fine", "priority": 0},
            {"title": "Fine", "status": "done"},
            {"description": "No title"},
        ],
        ids="-".join,
    )
    async def test_invalid_values_are_422(self, alice: Person, body: dict[str, Any]) -> None:
        await alice.post("/tasks", body, expect=422)


class TestList:
    """The list of tasks."""

    async def test_is_wrapped_in_an_envelope(self, alice: Person) -> None:
        task = await alice.new_task()
        page = (await alice.get("/tasks")).json()
        assert page["tasks"] == [task]
        assert (page["total"], page["skip"], page["limit"]) == (1, 0, 20)

    async def test_of_nothing_is_an_empty_list(self, alice: Person) -> None:
        page = (await alice.get("/tasks")).json()
        assert (page["tasks"], page["total"]) == ([], 0)

    async def test_filters_by_status(self, alice: Person) -> None:
        await alice.new_task(title="Open")
        await alice.new_task(title="Done", status="completed")
        page = (await alice.get("/tasks", params={"status": "completed"})).json()
        assert [task["title"] for task in page["tasks"]] == ["Done"]

    async def test_filters_by_priority(self, alice: Person) -> None:
        await alice.new_task(title="Low", priority=1)
        await alice.new_task(title="High", priority=5)
        page = (await alice.get("/tasks", params={"priority": 5})).json()
        assert [task["title"] for task in page["tasks"]] == ["High"]

    async def test_searches_title_and_description(self, alice: Person) -> None:
        await alice.new_task(title="Buy milk")
        await alice.new_task(title="Shopping", description="milk and bread")
        await alice.new_task(title="Sleep")
        page = (await alice.get("/tasks", params={"search": "MILK"})).json()
        assert {task["title"] for task in page["tasks"]} == {"Buy milk", "Shopping"}

    async def test_pages_with_skip_and_limit(self, alice: Person) -> None:
        for number in range(5):
            await alice.new_task(title=f"Task {number}")
        page = (await alice.get("/tasks", params={"skip": 1, "limit": 2})).json()
        assert [task["title"] for task in page["tasks"]] == ["Task 3", "Task 2"]
        assert (page["total"], page["skip"], page["limit"]) == (5, 1, 2)

    async def test_sorts(self, alice: Person) -> None:
        for priority in (2, 5, 1):
            await alice.new_task(priority=priority)
        page = (await alice.get("/tasks", params={"sort_by": "priority", "order": "asc"})).json()
        assert [task["priority"] for task in page["tasks"]] == [1, 2, 5]


class TestLogin:
    """The OAuth2 password form."""

    async def test_a_form_gives_a_bearer_token(self, client: httpx.AsyncClient, alice: Person) -> None:
        form = {"username": "alice", "password": PASSWORD}
        response = await client.post("/api/v1/token", data=form)
        assert response.status_code == 200
        token = response.json()
        assert token["token_type"] == "bearer"
        assert token["expires_in"] == 30 * 60
        headers = {"Authorization": f"Bearer {token['access_token']}"}
        me = (await client.get("/api/v1/users/me", headers=headers)).json()
        assert me["username"] == "alice"

    async def test_a_wrong_password_is_401(self, client: httpx.AsyncClient, alice: Person) -> None:
        response = await client.post("/api/v1/token", data={"username": "alice", "password": "wrong password"})
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert response.json()["detail"] == "Incorrect username or password."

    async def test_without_a_token_is_401(self, client: httpx.AsyncClient) -> None:
        assert (await client.get("/api/v1/users/me")).status_code == 401
        assert (await client.get("/api/v1/tasks")).status_code == 401

    async def test_me_is_the_account_without_its_password(self, alice: Person) -> None:
        me = (await alice.get("/users/me")).json()
        assert set(me) == {"id", "username", "email", "display_name", "time_zone", "disabled", "is_admin", "created_at"}
        assert (me["id"], me["username"], me["email"]) == (alice.id, "alice", "alice@example.com")
        assert (me["disabled"], me["is_admin"]) == (False, False)


async def test_comments_are_created_read_listed_changed_and_deleted(alice: Person) -> None:
    task = await alice.new_task()
    path = f"/tasks/{task['id']}/comments"
    created = (await alice.post(path, {"body": "First"})).json()
    assert created["body"] == "First"
    assert created["author"] == {"id": alice.id, "username": "alice", "display_name": None}
    assert (await alice.get(f"{path}/{created['id']}")).json() == created
    second = (await alice.post(path, {"body": "Second"})).json()
    assert (await alice.get(path)).json()["comments"] == [created, second]
    changed = (await alice.put(f"{path}/{created['id']}", {"body": "Changed"})).json()
    assert changed["body"] == "Changed"
    await alice.delete(f"{path}/{created['id']}")
    assert (await alice.get(path)).json()["comments"] == [second]
    await alice.get(f"{path}/{created['id']}", expect=404)
