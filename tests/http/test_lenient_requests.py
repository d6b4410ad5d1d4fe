"""What is taken where nothing is lost by it, and what says how to do it right; by compiled handlers and by FastAPI."""

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.conftest import Person
from tests.support.problem_answers import JSON, assert_problem

API = "/api/v1"
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
FILTERS = (
    *("status", "not_status", "priority", "tag", "not_tag", "assignee", "not_assignee", "created_by", "section_id"),
    *("due", "due_after", "due_before", "overdue", "updated_after", "created_after", "created_before", "search"),
)


@pytest.fixture(params=["compiled", "by FastAPI"])
async def caller(
    request: pytest.FixtureRequest, alice: Person, ordinary: httpx.AsyncClient
) -> AsyncIterator[httpx.AsyncClient]:
    """Alice, in front of either."""
    client = alice.client if request.param == "compiled" else ordinary
    before = client.headers.copy()
    client.headers["Authorization"] = f"Bearer {alice.token}"
    yield client
    client.headers = before


class TestEmptyFilters:
    """A filter without a value is none; a page, an order and an id without a value are refused."""

    @pytest.mark.parametrize("name", [*FILTERS, "project_id"])
    async def test_of_tasks(self, caller: httpx.AsyncClient, alice: Person, name: str) -> None:
        for n in range(2):
            await alice.new_task(title=f"Task {n}")
        every = (await caller.get(f"{API}/tasks?limit=1")).json()
        answer = await caller.get(f"{API}/tasks?limit=1&{name}=")
        assert answer.status_code == 200, answer.text
        assert answer.json()["tasks"] == every["tasks"]
        assert answer.json()["total"] == 2
        # The cursor leads on with the filter or without it.
        for given in ("", f"&{name}="):
            page = await caller.get(f"{API}/tasks?limit=1{given}&cursor={answer.json()['next_cursor']}")
            assert [task["title"] for task in page.json()["tasks"]] == ["Task 0"]

    async def test_are_described(self, client: httpx.AsyncClient) -> None:
        described = (await client.get("/openapi.json")).json()["paths"]["/api/v1/tasks"]["get"]["parameters"]
        empty = {parameter["name"] for parameter in described if parameter.get("allowEmptyValue")}
        assert empty == {*FILTERS, "project_id", "archived", "include", "id"}

    async def test_all_at_once_and_beside_others(self, caller: httpx.AsyncClient, alice: Person) -> None:
        await alice.new_task(title="A task", status="completed")
        await alice.new_task(title="Another")
        empty = "&".join(f"{name}=" for name in FILTERS)
        for query, found in ((empty, 2), ("status=&status=completed", 1), ("status=&status=&search=other", 1)):
            answer = await caller.get(f"{API}/projects/{alice.inbox_id}/tasks?{query}")
            assert (answer.status_code, answer.json()["total"]) == (200, found), query

    async def test_of_notifications(self, caller: httpx.AsyncClient) -> None:
        assert (await caller.get(f"{API}/notifications?unread=")).json()["notifications"] == []

    @pytest.mark.parametrize("name", ["limit", "skip", "cursor", "sort_by", "order", "count"])
    async def test_what_is_no_filter_stays_422(self, caller: httpx.AsyncClient, name: str) -> None:
        problem = assert_problem(await caller.get(f"{API}/tasks?{name}="), 422)
        assert problem["errors"][0]["loc"] == ["query", name]

    async def test_so_do_empty_ids_and_blank_or_unknown_filters(self, caller: httpx.AsyncClient) -> None:
        assert_problem(await caller.delete(f"{API}/tasks/bulk?id="), 422)
        for query in ("tag=%20", "unknown=", "search=&search=", "status=%20"):
            assert_problem(await caller.get(f"{API}/tasks?{query}"), 422)


class TestOffsets:
    """`+01:00` that was not encoded."""

    @pytest.mark.parametrize("offset", ["+01:00", "%2B01:00", " 01:00", "%2001:00", "+0100"])
    async def test_are_understood_in_a_query(self, caller: httpx.AsyncClient, alice: Person, offset: str) -> None:
        for hour in (10, 11):
            await alice.new_task(title=f"At {hour}", due_at=f"2030-01-31T{hour}:30:00Z")
        answer = await caller.get(f"{API}/tasks?due_after=2030-01-31T12:00:00{offset}".replace(" ", "+"))
        assert [task["title"] for task in answer.json()["tasks"]] == ["At 11"]

    async def test_but_not_in_a_body(self, caller: httpx.AsyncClient) -> None:
        body = {"title": "A task", "due_at": "2030-01-31T12:00:00 01:00"}
        assert_problem(await caller.post(f"{API}/tasks", json=body), 422)


class TestContentEncoding:
    """A compressed body is 415, which says what is taken (RFC 9110, section 15.5.16)."""

    @pytest.mark.parametrize("coding", ["gzip", "GZIP", "deflate", "br", "zstd", "identity, gzip", "x-unknown"])
    async def test_is_refused(self, caller: httpx.AsyncClient, coding: str) -> None:
        body = gzip.compress(b'{"title": "A task"}')
        headers = {**JSON, "Content-Encoding": coding}
        answer = await caller.post(f"{API}/tasks", content=body, headers=headers)
        problem = assert_problem(answer, 415)
        assert problem["type"] == "/docs/problems#unsupported-content-encoding"
        assert "without Content-Encoding" in problem["detail"]
        assert answer.headers["Accept-Encoding"] == "identity"

    @pytest.mark.parametrize("coding", ["identity", "Identity", ""])
    async def test_unless_it_is_none(self, caller: httpx.AsyncClient, coding: str) -> None:
        headers = {**JSON, "Content-Encoding": coding}
        answer = await caller.post(f"{API}/tasks", content=b'{"title": "A task"}', headers=headers)
        assert answer.status_code == 201

    async def test_without_a_body_it_means_nothing(self, caller: httpx.AsyncClient, alice: Person) -> None:
        headers = {"Content-Encoding": "gzip"}
        assert (await caller.get(f"{API}/tasks", headers=headers)).status_code == 200
        assert (await caller.post(f"{API}/notifications/read", headers=headers)).status_code == 204


class TestMergePatch:
    """`application/merge-patch+json` (RFC 7396) is what every PATCH takes anyway."""

    async def test_changes_what_is_given_and_clears_by_null(self, caller: httpx.AsyncClient, alice: Person) -> None:
        task = await alice.new_task(title="A task", description="Old", due_at="2030-01-01T00:00:00Z")
        changes = json.dumps({"description": None, "title": "New"})
        headers = {"Content-Type": "Application/Merge-Patch+JSON; charset=utf-8"}
        answer = await caller.patch(f"{API}/tasks/{task['id']}", content=changes, headers=headers)
        assert answer.status_code == 200
        changed = answer.json()
        assert (changed["title"], changed["description"], changed["due_at"]) == ("New", None, task["due_at"])

    @pytest.mark.parametrize(
        ("path", "changes"),
        [
            ("/tasks/{task}", {"title": "New"}),
            ("/projects/{project}/tasks/{task}", {"title": "New"}),
            ("/projects/{project}", {"description": "New"}),
            ("/tasks/{task}/comments/{comment}", {"body": "New"}),
            ("/users/me", {"username": "alice_2"}),
            ("/tasks/bulk", {"ids": ["{task}"], "set": {"title": "New"}}),
        ],
    )
    async def test_everywhere(
        self, caller: httpx.AsyncClient, alice: Person, path: str, changes: dict[str, Any]
    ) -> None:
        task = await alice.new_task()
        comment = (await alice.post(f"/tasks/{task['id']}/comments", {"body": "Old"})).json()
        ids = {"task": task["id"], "project": alice.inbox_id, "comment": comment["id"]}
        body = json.dumps(changes).replace('"{task}"', str(task["id"]))
        answer = await caller.patch(f"{API}{path.format_map(ids)}", content=body, headers=MERGE_PATCH)
        assert answer.status_code == 200, answer.text

    async def test_nowhere_else(self, caller: httpx.AsyncClient, alice: Person) -> None:
        task = await alice.new_task()
        for method, path in (("PUT", f"/tasks/{task['id']}"), ("POST", "/tasks")):
            answer = await caller.request(method, f"{API}{path}", content=b'{"title": "x"}', headers=MERGE_PATCH)
            assert "application/json: name it in Content-Type" in assert_problem(answer, 415)["detail"]
            assert answer.headers["Accept"] == "application/json"
            assert "Accept-Patch" not in answer.headers

    async def test_another_type_is_told_what_a_patch_takes(self, caller: httpx.AsyncClient, alice: Person) -> None:
        task = await alice.new_task()
        headers = {"Content-Type": "application/json-patch+json"}
        answer = await caller.patch(f"{API}/tasks/{task['id']}", content=b"[]", headers=headers)
        assert_problem(answer, 415)
        assert answer.headers["Accept-Patch"] == "application/json, application/merge-patch+json"

    async def test_is_in_the_description(self, client: httpx.AsyncClient) -> None:
        paths = (await client.get("/openapi.json")).json()["paths"]
        found = {
            name for path in paths.values() for name in path.get("patch", {}).get("requestBody", {}).get("content", ())
        }
        assert found == {"application/json", "application/merge-patch+json"}
        others = (operation for path in paths.values() for method, operation in path.items() if method != "patch")
        assert not any(MERGE_PATCH["Content-Type"] in str(operation) for operation in others)
