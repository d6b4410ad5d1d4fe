"""Entity tags, If-None-Match and If-Match on everything that has a version."""

from dataclasses import replace
from typing import Any

import httpx
import pytest

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.credentials import new_key
from tests.support.entity_tags import MALFORMED, MATCHING, NOT_MATCHING
from tests.support.resources import KINDS, METHODS, Resource, kind_of, make_resource, share
from tests.support.rows import digests


class TestEntityTag:
    """`ETag` is the version, strong, on every answer that shows the thing itself."""

    async def test_a_new_one_has_the_tag_of_version_1(self, alice: Person, resource: Resource) -> None:
        created = await alice.post(resource.collection, resource.body("Another"))
        assert created.headers["ETag"] == '"1"'
        read = await alice.client.get(created.headers["Location"])
        assert (read.headers["ETag"], read.json()["version"]) == ('"1"', 1)

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    async def test_a_change_answers_the_next_one(self, alice: Person, resource: Resource, method: str) -> None:
        for version in (2, 3):
            changed = await resource.write(alice, method, f"Version {version}")
            assert (changed.status_code, changed.headers["ETag"]) == (200, f'"{version}"')
            assert changed.json()["version"] == version
            read = await alice.get(resource.path)
            assert (read.headers["ETag"], read.json()) == (f'"{version}"', changed.json())

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    async def test_a_change_of_nothing_keeps_it(
        self, alice: Person, resource: Resource, method: str, database: Database
    ) -> None:
        first = await resource.write(alice, method)
        before = await digests(database)
        again = await resource.write(alice, method)
        assert (again.status_code, again.headers["ETag"], again.json()) == (200, '"2"', first.json())
        assert await digests(database) == before

    async def test_what_is_below_does_not_change_it(self, alice: Person) -> None:
        comment = await make_resource("comment", alice)
        task, project = f"/tasks/{comment.path.split('/')[2]}", f"/projects/{comment.project_id}"
        await alice.patch(comment.path, {"body": "New"})
        assert (await alice.get(task)).headers["ETag"] == '"1"'
        await alice.patch(task, {"title": "New"})
        await alice.delete(comment.path)
        assert (await alice.get(task)).headers["ETag"] == '"2"'
        await alice.delete(task)
        assert (await alice.get(project)).headers["ETag"] == '"1"'

    async def test_both_paths_of_a_task_have_the_same(self, alice: Person) -> None:
        task = await make_resource("task of a project", alice)
        await task.write(alice, "PATCH")
        task_id = task.path.rsplit("/", 1)[1]
        assert (await alice.get(f"/tasks/{task_id}")).headers["ETag"] == (await alice.get(task.path)).headers["ETag"]


class TestIfNoneMatch:
    """A GET for who has the thing already."""

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    async def test_a_known_version_is_304_without_a_body(self, alice: Person, resource: Resource, method: str) -> None:
        for known in (*MATCHING, '"7",W/"1" , "x"'):
            answer = await alice.request(method, resource.path, 304, headers={"If-None-Match": known})
            assert (answer.headers["ETag"], answer.content) == ('"1"', b""), known
            assert not {"content-type", "content-length"} & answer.headers.keys()
            assert answer.headers["X-Request-ID"]

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    async def test_another_version_is_200(self, alice: Person, resource: Resource, method: str) -> None:
        for known in (*NOT_MATCHING, '"2", "3"', '"11"', '"a1"', '"W/1"'):
            answer = await alice.request(method, resource.path, 200, headers={"If-None-Match": known})
            assert (answer.headers["ETag"], answer.content == b"") == ('"1"', method == "HEAD"), known

    async def test_a_malformed_one_is_ignored(self, alice: Person, resource: Resource) -> None:
        for malformed in MALFORMED:
            answer = await alice.get(resource.path, None, headers={"If-None-Match": malformed})
            assert (answer.status_code, answer.headers["ETag"]) == (200, '"1"'), malformed
            assert answer.json()["version"] == 1

    async def test_the_version_before_a_change_is_no_match_and_the_one_after_is(
        self, alice: Person, resource: Resource
    ) -> None:
        await resource.write(alice, "PATCH")
        answer = await alice.get(resource.path, headers={"If-None-Match": '"1"'})
        assert (answer.headers["ETag"], answer.json()[resource.field]) == ('"2"', "New")
        assert (await alice.get(resource.path, 304, headers={"If-None-Match": '"2"'})).headers["ETag"] == '"2"'

    async def test_what_one_may_not_see_is_404(self, alice: Person, bob: Person, resource: Resource) -> None:
        for known in ('"1"', "*"):
            await bob.get(resource.path, 404, headers={"If-None-Match": known})
        await alice.delete(resource.path)
        for known in ('"1"', "*"):
            await alice.get(resource.path, 404, headers={"If-None-Match": known})

    @pytest.mark.parametrize("kind", ["task", "task of a project", "project"])
    async def test_a_match_reads_the_version_and_no_text(
        self, alice: Person, kind: str, query_recorder: list[str]
    ) -> None:
        resource = await make_resource(kind, alice)
        query_recorder.clear()
        await alice.get(resource.path, 304, headers={"If-None-Match": '"1"'})
        (read,) = query_recorder
        assert "FROM sessions" in read
        assert "version" in read
        assert not any(text in read for text in ("title", "description", "name"))

    async def test_a_match_of_a_comment_is_one_statement_too(self, alice: Person, query_recorder: list[str]) -> None:
        comment = await make_resource("comment", alice)
        query_recorder.clear()
        await alice.get(comment.path, 304, headers={"If-None-Match": '"1"'})
        assert len(query_recorder) == 1

    async def test_writes_do_not_look_at_it(self, alice: Person, resource: Resource) -> None:
        answer = await resource.write(alice, "PATCH", If_None_Match='"1"')
        assert (answer.status_code, answer.headers["ETag"]) == (200, '"2"')


class TestIfMatch:
    """A write for who knows which version it replaces."""

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("kind", KINDS)
    async def test_a_match_is_done(self, alice: Person, kind: str, method: str) -> None:
        for tags in MATCHING:
            resource = await make_resource(kind, alice)
            answer = await resource.write(alice, method, If_Match=tags)
            if method == "DELETE":
                assert answer.status_code == 204, tags
                await alice.get(resource.path, 404)
            else:
                assert (answer.status_code, answer.headers.get("ETag")) == (200, '"2"'), tags
                assert (await alice.get(resource.path)).json()[resource.field] == "New"

    @pytest.mark.parametrize("method", METHODS)
    async def test_no_match_is_412_and_changes_nothing(
        self, alice: Person, resource: Resource, method: str, database: Database
    ) -> None:
        before = await digests(database)
        for tags in NOT_MATCHING:
            answer = await resource.write(alice, method, If_Match=tags)
            assert (answer.status_code, kind_of(answer)) == (412, "stale-version"), tags
            assert (answer.json()["current_version"], answer.headers["ETag"]) == (1, '"1"')
            assert answer.json()["changed_fields"] is None
        assert await digests(database) == before

    @pytest.mark.parametrize("method", METHODS)
    async def test_a_stale_one_is_told_the_version_and_what_changed_since(
        self, alice: Person, resource: Resource, method: str, database: Database
    ) -> None:
        for number in (2, 3):
            await resource.write(alice, "PATCH", f"Version {number}")
        before = await digests(database)
        answer = await resource.write(alice, method, If_Match='"1"')
        problem = answer.json()
        assert (answer.status_code, kind_of(answer), answer.headers["ETag"]) == (412, "stale-version", '"3"')
        assert (problem["current_version"], problem["changed_fields"]) == (3, [resource.field])
        assert await digests(database) == before

    async def test_only_fields_changed_since_then_are_named(self, alice: Person) -> None:
        task = await make_resource("task", alice)
        for body in ({"title": "New"}, {"priority": 5, "tags": ["a"]}, {"due_at": "2030-01-01T00:00:00Z"}):
            await alice.patch(task.path, body)
        for known, fields in (
            ('"1"', ["due_at", "priority", "tags", "title"]),
            ('"2"', ["due_at", "priority", "tags"]),
            ('"3"', ["due_at"]),
        ):
            answer = await alice.patch(task.path, {"title": "Lost"}, 412, headers={"If-Match": known})
            assert (answer.json()["current_version"], answer.json()["changed_fields"]) == (4, fields)

    async def test_the_fields_of_a_project_are_named(self, alice: Person) -> None:
        project = await make_resource("project", alice)
        await alice.patch(project.path, {"description": "New", "archived": True})
        await alice.patch(project.path, {"archived": False})
        answer = await project.write(alice, "PATCH", If_Match='"1"')
        assert answer.json()["changed_fields"] == ["archived", "description"]

    async def test_the_removal_of_an_assignee_is_a_change(self, alice: Person, bob: Person) -> None:
        task = await make_resource("task", alice)
        await share(alice, task, bob, "editor")
        await alice.patch(task.path, {"assignee_id": bob.id})
        await alice.delete(f"/projects/{task.project_id}/members/{bob.id}")
        answer = await task.write(alice, "PATCH", If_Match='"2"')
        assert (answer.json()["current_version"], answer.json()["changed_fields"]) == (3, ["assignee_id"])

    @pytest.mark.parametrize("method", METHODS)
    async def test_a_malformed_one_is_400_even_to_a_stranger(
        self, alice: Person, client: httpx.AsyncClient, resource: Resource, method: str
    ) -> None:
        for malformed in MALFORMED:
            for asking in (alice, replace(alice, client=client)):
                answer = await resource.write(asking, method, If_Match=malformed)
                assert (answer.status_code, kind_of(answer)) == (400, "malformed-header"), malformed
                assert "If-Match" in answer.json()["detail"]
        assert (await alice.get(resource.path)).headers["ETag"] == '"1"'

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    async def test_a_change_of_nothing_checks_it_too(self, alice: Person, resource: Resource, method: str) -> None:
        await resource.write(alice, "PATCH")
        kept = await resource.write(alice, method, If_Match='"2"')
        assert (kept.status_code, kept.headers["ETag"]) == (200, '"2"')
        assert (await resource.write(alice, method, If_Match='"1"')).status_code == 412

    async def test_what_one_may_not_see_is_404(self, alice: Person, bob: Person, resource: Resource) -> None:
        attempts = [(method, tags) for method in METHODS for tags in ("*", '"1"', '"9"')]
        for method, tags in attempts:
            assert (await resource.write(bob, method, If_Match=tags)).status_code == 404, (method, tags)
        await alice.delete(resource.path)
        for method, tags in attempts:
            assert (await resource.write(alice, method, If_Match=tags)).status_code == 404, (method, tags)

    async def test_a_task_under_the_wrong_project_is_404(self, alice: Person) -> None:
        task = await make_resource("task of a project", alice)
        wrong = replace(task, path=f"/projects/{alice.inbox_id}/tasks/{task.path.rsplit('/', 1)[1]}")
        for method in METHODS:
            assert (await wrong.write(alice, method, If_Match='"2"')).status_code == 404


class TestIfMatchAndMove:
    """A move is a change like any other."""

    @pytest.mark.parametrize("kind", ["task", "task of a project"])
    @pytest.mark.parametrize("extra", [{}, {"title": "New"}], ids=["alone", "with a title"])
    async def test_a_match_moves(self, alice: Person, kind: str, extra: dict[str, Any]) -> None:
        task = await make_resource(kind, alice)
        body = {"project_id": alice.inbox_id, **extra}
        answer = await alice.patch(task.path, body, headers={"If-Match": '"1"'})
        moved = answer.json()
        assert moved["project_id"] == alice.inbox_id
        assert moved["version"] > 1
        assert answer.headers["ETag"] == f'"{moved["version"]}"'
        assert (await alice.get(f"/tasks/{moved['id']}")).json() == moved

    @pytest.mark.parametrize("kind", ["task", "task of a project"])
    @pytest.mark.parametrize("tags", ['"1"', 'W/"1"', '"1-gzip"', '"3"'])
    async def test_no_match_is_412_and_it_stays(self, alice: Person, kind: str, tags: str, database: Database) -> None:
        task = await make_resource(kind, alice)
        await task.write(alice, "PATCH")
        before = await digests(database)
        body = {"project_id": alice.inbox_id, "title": "Lost"}
        answer = await alice.patch(task.path, body, 412, headers={"If-Match": tags})
        assert answer.json()["current_version"] == 2
        assert await digests(database) == before

    async def test_the_tag_from_before_a_move_is_stale(self, alice: Person) -> None:
        task = await make_resource("task", alice)
        await alice.patch(task.path, {"project_id": alice.inbox_id})
        answer = await task.write(alice, "PATCH", If_Match='"1"')
        assert (answer.status_code, answer.json()["current_version"]) == (412, 2)
        assert answer.json()["changed_fields"] == ["project_id"]

    async def test_to_where_it_is_checks_the_tag_and_changes_nothing(self, alice: Person) -> None:
        task = await make_resource("task", alice)
        body = {"project_id": task.project_id}
        assert (await alice.patch(task.path, body, headers={"If-Match": '"1"'})).headers["ETag"] == '"1"'
        await alice.patch(task.path, body, 412, headers={"If-Match": '"2"'})


class TestOrder:
    """A stale tag is the last thing to be refused, a malformed one is among the first."""

    @pytest.mark.parametrize("method", METHODS)
    async def test_403_for_a_scope_comes_before_412(self, alice: Person, resource: Resource, method: str) -> None:
        key = await new_key(alice, "tasks:read", "projects:read")
        answer = await resource.write(alice, method, If_Match='"9"', X_API_Key=key.text)
        assert (answer.status_code, kind_of(answer)) == (403, "scope-missing")

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    async def test_422_comes_before_404_and_412(
        self, alice: Person, bob: Person, resource: Resource, method: str
    ) -> None:
        for person in (alice, bob):
            await person.request(method, resource.path, 422, json={resource.field: ""}, headers={"If-Match": '"9"'})

    @pytest.mark.parametrize("method", METHODS)
    async def test_403_for_a_role_comes_before_412(
        self, alice: Person, bob: Person, resource: Resource, method: str
    ) -> None:
        await share(alice, resource, bob, "viewer")
        answer = await resource.write(bob, method, If_Match='"9"')
        assert (answer.status_code, kind_of(answer)) == (403, "role-too-low")

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "project"])
    async def test_409_for_an_archived_project_comes_before_412(self, alice: Person, kind: str, method: str) -> None:
        resource = await make_resource(kind, alice)
        await alice.patch(f"/projects/{resource.project_id}", {"archived": True})
        answer = await resource.write(alice, method, If_Match='"9"')
        assert (answer.status_code, kind_of(answer)) == (409, "project-archived")

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    async def test_409_of_an_archived_project_itself_comes_before_412(self, alice: Person, method: str) -> None:
        project = await make_resource("project", alice)
        await alice.patch(project.path, {"archived": True})
        answer = await project.write(alice, method, If_Match='"9"')
        assert (answer.status_code, kind_of(answer)) == (409, "project-archived")

    async def test_415_comes_before_a_malformed_tag_and_that_before_a_malformed_key(
        self, client: httpx.AsyncClient
    ) -> None:
        headers = {"If-Match": "1", "Content-Type": "text/plain", "Idempotency-Key": "a b"}
        assert (await client.patch("/api/v1/tasks/1", content="{}", headers=headers)).status_code == 415
        headers["Content-Type"] = "application/json"
        answer = await client.patch("/api/v1/tasks/1", content="{}", headers=headers)
        assert (answer.status_code, "If-Match" in answer.json()["detail"]) == (400, True)
