"""What may be given once is refused when it is given twice; which one counts is never guessed."""

import httpx
import pytest

from tests.conftest import PASSWORD, Person
from tests.support.both_ways import ALL_ROUTES
from tests.support.credentials import API, bearer, new_key
from tests.support.problem_answers import JSON, assert_problem
from tests.support.resources import kind_of, make_resource

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ROUTES = [(method, path) for method, path in ALL_ROUTES if path.startswith(API)]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_two_credentials_are_400_on_every_route(alice: Person, method: str, path: str) -> None:
    names = {part[1:-1] for part in path.split("/") if part.startswith("{")}
    key = await new_key(alice, "tasks:read")
    credentials = [("Authorization", alice.client.headers["authorization"]), ("X-API-Key", key.text)]
    alice.client.headers.pop("authorization")
    for name, value in credentials:
        for second in (value, "x"):
            answer = await alice.client.request(
                method, path.format(**dict.fromkeys(names, 1)), headers=[(name, value), (name, second)]
            )
            assert (answer.status_code, kind_of(answer)) == (400, "malformed-header"), (name, answer.text)
            assert name in answer.json()["detail"]
            assert value not in answer.text


async def test_two_keys_of_a_retry_are_400(alice: Person) -> None:
    for second in ("a", "b"):
        headers = [("Idempotency-Key", "a"), ("Idempotency-Key", second)]
        answer = await alice.post("/tasks", {"title": "A task"}, 400, headers=headers)
        assert "Idempotency-Key" in answer.json()["detail"]
    assert (await alice.get("/tasks")).json()["total"] == 0


async def test_two_content_types_are_refused(alice: Person) -> None:
    for second, status in (("application/json", 400), ("text/plain", 400)):
        headers = [("Content-Type", "application/json"), ("Content-Type", second)]
        answer = await alice.client.post(f"{API}/tasks", content=b'{"title": "A task"}', headers=headers)
        assert_problem(answer, status)


async def test_lines_of_if_match_are_one_list(alice: Person) -> None:
    task = await make_resource("task", alice)
    twice = [("If-Match", '"7"'), ("If-Match", '"1"')]
    assert (await alice.patch(task.path, {"title": "New"}, headers=twice)).headers["ETag"] == '"2"'
    stale = await alice.patch(task.path, {"title": "Lost"}, 412, headers=[("If-Match", '"3"'), ("If-Match", '"1"')])
    assert stale.json()["changed_fields"] == ["title"]
    for second in ("*", "nonsense"):
        await alice.patch(task.path, {"title": "Lost"}, 400, headers=[("If-Match", '"2"'), ("If-Match", second)])


async def test_lines_of_if_none_match_are_one_list(alice: Person) -> None:
    task = await make_resource("task", alice)
    for tags in (('"1"', '"7"'), ('"7"', 'W/"1"')):
        await alice.get(task.path, 304, headers=[("If-None-Match", tag) for tag in tags])
    await alice.get(task.path, 200, headers=[("If-None-Match", '"7"'), ("If-None-Match", '"8"')])


@pytest.mark.parametrize(
    "body",
    [
        b'{"title": "A", "title": "B"}',
        b'{"title": "A", "title": "A"}',
        b'{"title": "A", "t\\u0069tle": "B"}',
        b'{"title": "A", "tags": [{"a": 1, "a": 2}]}',
    ],
)
async def test_a_name_that_an_object_has_twice_is_400(alice: Person, body: bytes) -> None:
    # The second time FastAPI reads it.
    for more in ({}, {"If-None-Match": '"1"'}):
        answer = await alice.post("/tasks", None, 400, content=body, headers={**JSON, **more})
        assert kind_of(answer) == "malformed-body"
        assert "more than once" in answer.json()["detail"]
    assert (await alice.get("/tasks")).json()["total"] == 0


@pytest.mark.parametrize("repeated", ["username=bob", "password=x", "scope=&scope=", "username=alice"])
async def test_a_field_that_a_form_has_twice_is_400(client: httpx.AsyncClient, alice: Person, repeated: str) -> None:
    form = f"username=alice&password={PASSWORD.replace(' ', '+')}"
    assert (await client.post(f"{API}/token", content=form, headers=FORM)).status_code == 200
    answer = await client.post(f"{API}/token", content=f"{form}&{repeated}", headers=FORM)
    assert (answer.status_code, kind_of(answer)) == (400, "malformed-body")
    assert "more than once" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("PATCH", "/tasks/{task_id}", "notify=true&notify=true"),
        ("PUT", "/projects/{project_id}/tasks/{task_id}", "notify=true&notify=false"),
        ("GET", "/tasks", "overdue=true&overdue=true"),
        ("GET", "/admin/users", "limit=1&limit=2"),
        ("GET", "/users/me/api-keys", "cursor=&cursor="),
    ],
)
async def test_a_parameter_with_one_value_given_twice_is_422(
    alice: Person, administrator: Person, method: str, path: str, query: str
) -> None:
    task = await alice.new_task()
    person = administrator if path.startswith("/admin") else alice
    body = {"title": "New"} if method in {"PATCH", "PUT"} else None
    url = path.format(project_id=alice.inbox_id, task_id=task["id"])
    problem = assert_problem(await person.request(method, f"{url}?{query}", json=body), 422)
    assert [error["type"] for error in problem["errors"]] == ["repeated"]
    assert (await alice.get(f"/tasks/{task['id']}")).json() == task


async def test_one_line_each_is_as_ever(alice: Person) -> None:
    assert (await alice.client.get(f"{API}/users/me", headers=bearer(alice.token))).status_code == 200
