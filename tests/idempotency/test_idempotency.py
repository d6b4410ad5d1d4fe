"""Idempotency-Key: a request that is sent again has its effect once, and its answer again."""

from dataclasses import replace

import httpx
import pytest

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.credentials import API, new_key
from tests.support.event_log import count_rows
from tests.support.keyed_writes import WITH_BODY, KeyedWrite, keys_of, make_write
from tests.support.problem_answers import kind_of
from tests.support.rows import digests

MALFORMED = ("", " ", '""', '"abc', 'abc"x y', "a b", '"a"b"', '"a\\b"', "x" * 256, f'"{"x" * 257}"', "a\tb", "käse")


class TestReplay:
    """The same request again."""

    async def test_is_answered_as_before_and_does_nothing(
        self, alice: Person, write: KeyedWrite, database: Database
    ) -> None:
        first = await write.send(alice)
        assert "Idempotency-Replayed" not in first.headers
        before = await digests(database)
        for _ in range(2):
            again = await write.send(alice)
            assert again.headers["Idempotency-Replayed"] == "true"
            assert (again.status_code, again.content) == (first.status_code, first.content)
            for name in ("Location", "ETag", "Content-Type", "Content-Length"):
                assert again.headers.get(name) == first.headers.get(name), name
            assert again.headers["X-Request-ID"] != first.headers["X-Request-ID"]
        assert await digests(database) == before

    @pytest.mark.parametrize("kind", ["task", "project task", "project", "comment"])
    async def test_keeps_where_it_is_and_its_tag_although_it_changed_since(
        self, alice: Person, bob: Person, kind: str
    ) -> None:
        write = await make_write(kind, alice, bob)
        first = await write.send(alice)
        field = next(name for name in ("title", "name", "body") if name in first.json())
        changed = await alice.client.patch(first.headers["Location"], json={field: "Changed"})
        assert changed.headers["ETag"] == '"2"'
        again = await write.send(alice)
        assert (again.json(), again.headers["ETag"]) == (first.json(), '"1"')
        assert (await alice.client.get(again.headers["Location"])).json() == changed.json()

    async def test_of_marking_all_as_read_leaves_what_came_since_unread(self, alice: Person, bob: Person) -> None:
        write = await make_write("all notifications", alice, bob)
        await write.send(alice)
        project_id = (await alice.get("/notifications")).json()["notifications"][0]["project_id"]
        await bob.new_task(project_id, assignee_id=alice.id)
        await write.send(alice)
        assert (await alice.get("/notifications")).json()["unread"] == 1
        await write.send(alice, "another-key")
        assert (await alice.get("/notifications")).json()["unread"] == 0

    async def test_without_a_key_it_is_another_request(self, alice: Person, database: Database) -> None:
        for _ in range(2):
            answer = await KeyedWrite("/tasks", {"title": "Again"}).send(alice, None)
            assert "Idempotency-Replayed" not in answer.headers
        assert await count_rows(database, "tasks") == 2
        assert await keys_of(database) == []

    async def test_the_same_key_of_another_method_is_another_request(self, alice: Person, database: Database) -> None:
        path = f"/tasks/{(await alice.new_task())['id']}"
        for method, title in (("PATCH", "One"), ("PUT", "Two")):
            changed = await KeyedWrite(path, {"title": title}, 200, method=method).send(alice)
            assert changed.json()["title"] == title
        await KeyedWrite(path, status=204, method="DELETE").send(alice)
        assert await keys_of(database) == ["a-key"] * 3

    async def test_with_an_api_key_of_the_same_person_is_the_same(self, alice: Person) -> None:
        first = await KeyedWrite("/tasks", {"title": "Once"}).send(alice)
        key = await new_key(alice, "tasks:write")
        headers = {"Idempotency-Key": "a-key", **key.in_header}
        again = await alice.post("/tasks", {"title": "Once"}, headers=headers)
        assert (again.json(), again.headers["Idempotency-Replayed"]) == (first.json(), "true")

    async def test_with_an_api_key_without_the_scope_is_403(self, alice: Person) -> None:
        await KeyedWrite("/tasks", {"title": "Once"}).send(alice)
        key = await new_key(alice, "tasks:read")
        headers = {"Idempotency-Key": "a-key", **key.in_header}
        assert kind_of(await alice.post("/tasks", {"title": "Once"}, 403, headers=headers)) == "scope-missing"


class TestAnotherRequest:
    """What is not the same request."""

    @pytest.mark.parametrize("kind", WITH_BODY)
    async def test_another_body_is_422_and_does_nothing(
        self, alice: Person, bob: Person, kind: str, database: Database
    ) -> None:
        write = await make_write(kind, alice, bob)
        first = await write.send(alice)
        before = await digests(database)
        refused = await replace(write, body=write.other_body).send(alice, expect=422)
        assert kind_of(refused) == "idempotency-key-reused"
        assert await digests(database) == before
        assert (await write.send(alice)).content == first.content

    async def test_the_same_key_of_somebody_else_is_independent(
        self, alice: Person, bob: Person, database: Database
    ) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        ids = {(await write.send(person)).json()["id"] for person in (alice, bob, alice, bob)}
        assert len(ids) == await count_rows(database, "tasks") == 2

    async def test_the_same_key_at_another_path_is_independent(self, alice: Person, database: Database) -> None:
        first, second = await alice.new_project(), await alice.new_project()
        for path in ("/tasks", f"/projects/{first}/tasks", f"/projects/{second}/tasks"):
            answer = await KeyedWrite(path, {"title": "Once"}).send(alice)
            assert "Idempotency-Replayed" not in answer.headers
        assert await count_rows(database, "tasks") == 3

    async def test_another_key_is_another_request(self, alice: Person, database: Database) -> None:
        for key in ("a", "b", "A", "a'"):
            assert (
                "Idempotency-Replayed" not in (await KeyedWrite("/tasks", {"title": "Once"}).send(alice, key)).headers
            )
        assert await count_rows(database, "tasks") == 4


class TestHeader:
    """How a key may be written."""

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("abc", '"abc"'),
            ("550e8400-e29b-41d4-a716-446655440000", '"550e8400-e29b-41d4-a716-446655440000"'),
            ('a"b', '"a\\"b"'),
            ("a\\b", '"a\\\\b"'),
            ("x" * 255, f'"{"x" * 255}"'),
            ("!", '"!"'),
        ],
        ids=lambda key: key[:20],
    )
    async def test_bare_and_quoted_are_the_same_key(self, alice: Person, first: str, second: str) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        created = await write.send(alice, first)
        again = await write.send(alice, second)
        assert (again.json(), again.headers["Idempotency-Replayed"]) == (created.json(), "true")

    async def test_a_quoted_one_may_have_spaces(self, alice: Person, database: Database) -> None:
        write = KeyedWrite("/tasks", {"title": "Once"})
        for key in ('"a key"', '" "', '"a  key"'):
            await write.send(alice, key)
        assert await keys_of(database) == [" ", "a  key", "a key"]

    async def test_any_other_is_400_even_to_a_stranger(
        self, alice: Person, client: httpx.AsyncClient, write: KeyedWrite, database: Database
    ) -> None:
        before = await digests(database)
        for malformed in MALFORMED:
            for asking in (alice.client, client):
                headers = {b"Idempotency-Key": malformed.encode("latin-1")}
                answer = await asking.request(write.method, f"{API}{write.path}", json=write.body, headers=headers)
                assert (answer.status_code, kind_of(answer)) == (400, "malformed-header"), malformed
                assert "Idempotency-Key" in answer.json()["detail"]
        assert await digests(database) == before
