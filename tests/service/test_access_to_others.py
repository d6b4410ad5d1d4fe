"""Ids of other people's things, swapped into requests, and archived projects give no access."""

from typing import Any

import httpx
import pytest

from taskmanager.database.database import Database
from taskmanager.roles import Role
from tests.support.access_rules import CASES, RULES, Rule, expected, filled, problem_of
from tests.support.access_world import ACTORS, MARKER, World
from tests.support.credentials import API
from tests.support.rows import digests, fetch_one

MEMBER_WRITES = [case for case in CASES if case.values[2].access == "member" and case.values[0] != "GET"]  # type: ignore[union-attr]


class TestArchived:
    """In an archived project every write is 409, but bringing it back and deleting it."""

    @pytest.fixture
    async def archived(self, world: World) -> World:
        """The world, where the ids in paths are those of the archived project."""
        names = ("project_id", "task_id", "comment_id", "section_id")
        return World(
            logins=world.logins,
            ids={**world.ids, **{name: world.ids[f"archived_{name}"] for name in names}},
            own_ids=world.own_ids,
            snapshot=world.snapshot,
        )

    @pytest.mark.parametrize(("method", "path", "rule"), MEMBER_WRITES)
    async def test_every_write_is_409_after_every_other_refusal(
        self, client: httpx.AsyncClient, database: Database, archived: World, method: str, path: str, rule: Rule
    ) -> None:
        before = await digests(database)
        options: dict[str, Any] = {"json": filled(rule.json, archived), "params": filled(rule.query, archived)}
        wrong = []
        for actor in (actor for actor in ACTORS if actor.scopes is None):
            status, problem = expected(rule, actor)
            if (status, problem) == (rule.ok, None):
                status, problem = 409, "project-archived"
                if (method, path) == ("DELETE", f"{API}/projects/{{project_id}}"):
                    status, problem = 204, None
                if actor.person == "editor" and "{comment_id}" in path:
                    status, problem = 403, "not-author"
            response = await client.request(
                method, archived.path(path, actor), headers=archived.headers_of(actor), **options
            )
            if (response.status_code, problem_of(response)) != (status, problem):
                wrong.append(f"{actor.name}: {response.status_code} instead of {status}, {response.text}")
            if status >= 400 and await digests(database) != before:
                wrong.append(f"{actor.name}: refused with {status}, but changed something")
            if status < 400:
                assert await digests(database) != before
                await archived.snapshot.restore(database)
        assert wrong == []

    async def test_reading_goes_on(self, client: httpx.AsyncClient, archived: World) -> None:
        for actor in (actor for actor in ACTORS if actor.scopes is None and actor.is_member):
            for (method, path), (rule, *_) in RULES.items():
                # There are no webhooks in the archived project.
                if method != "GET" or rule.role is None or "{webhook_id}" in path:
                    continue
                if Role(str(actor.role)).includes(Role(rule.role)):
                    answer = await client.get(
                        archived.path(path, actor),
                        headers=archived.headers_of(actor),
                        params=filled(rule.query, archived),
                    )
                    assert answer.status_code == 200, (actor, path)

    async def test_its_owner_brings_it_back(self, client: httpx.AsyncClient, archived: World) -> None:
        headers = archived.logins["owner"].headers
        path = f"{API}/projects/{archived.ids['project_id']}"
        for role in ("editor", "viewer"):
            refused = await client.patch(path, json={"archived": False}, headers=archived.logins[role].headers)
            assert refused.status_code == 403
        assert (await client.patch(path, json={"archived": False}, headers=headers)).status_code == 200
        changed = await client.patch(f"{API}/tasks/{archived.ids['task_id']}", json={"priority": 2}, headers=headers)
        assert changed.status_code == 200


def swapped() -> list[Any]:
    """Requests of the owner, of which each one names something that does not belong there."""
    cases: list[tuple[int, str, str, dict[str, Any] | None]] = []
    task = {"title": "New"}
    for method, body in (("GET", None), ("PUT", {"body": "New"}), ("PATCH", {"body": "New"}), ("DELETE", None)):
        cases += [
            (404, method, "/tasks/{task_id}/comments/{side_comment_id}", body),
            (404, method, "/tasks/{side_task_id}/comments/{comment_id}", body),
            (404, method, "/tasks/{task_id}/comments/{foreign_comment_id}", body),
            (404, method, "/tasks/{foreign_task_id}/comments/{foreign_comment_id}", body),
            (404, method, "/tasks/{foreign_task_id}/comments/{comment_id}", body),
        ]
    for method, body in (("GET", None), ("PUT", task), ("PATCH", task), ("DELETE", None)):
        cases += [
            (404, method, "/projects/{side_project_id}/tasks/{task_id}", body),
            (404, method, "/projects/{foreign_project_id}/tasks/{task_id}", body),
            (404, method, "/projects/{project_id}/tasks/{foreign_task_id}", body),
            (404, method, "/projects/{foreign_project_id}/tasks/{foreign_task_id}", body),
            (404, method, "/tasks/{foreign_task_id}", body),
        ]
    for method in ("PUT", "PATCH"):
        for path in ("/tasks/{task_id}", "/projects/{project_id}/tasks/{task_id}"):
            cases += [
                (404, method, path, {"project_id": "foreign_project_id"}),
                (404, method, path, {"project_id": "unknown_id"}),
                (404, method, path, {"project_id": "stranger_inbox_id", "title": "New"}),
                (409, method, path, {"project_id": "archived_project_id"}),
                (422, method, path, {"assignee_id": "stranger_id"}),
                (422, method, path, {"assignee_id": "removed_id"}),
                (422, method, path, {"assignee_id": "unknown_id"}),
                # A member here, but not where the task goes.
                (422, method, path, {"project_id": "side_project_id", "assignee_id": "editor_id"}),
            ]
        cases += [
            (404, method, "/tasks/{foreign_task_id}", {"project_id": "project_id"}),
            (404, method, "/projects/{project_id}/tasks/{foreign_task_id}", {"project_id": "project_id"}),
            (404, method, "/projects/{side_project_id}/tasks/{task_id}", {"project_id": "side_project_id"}),
            (409, method, "/tasks/{archived_task_id}", {"project_id": "project_id"}),
        ]
    for method, path, body in (
        ("GET", "", None),
        ("PUT", "", {"name": "New"}),
        ("PATCH", "", {"name": "New"}),
        ("POST", "/move", {"at": "top"}),
        ("DELETE", "", None),
    ):
        cases += [
            (404, method, "/projects/{project_id}/sections/{side_section_id}" + path, body),
            (404, method, "/projects/{side_project_id}/sections/{section_id}" + path, body),
            (404, method, "/projects/{project_id}/sections/{foreign_section_id}" + path, body),
            (404, method, "/projects/{foreign_project_id}/sections/{foreign_section_id}" + path, body),
        ]
    cases += [
        (404, "POST", "/tasks/{foreign_task_id}/move", {"at": "top"}),
        (404, "POST", "/tasks/{task_id}/move", {"after": "foreign_task_id"}),
        (404, "POST", "/tasks/{task_id}/move", {"before": "unknown_id"}),
        (422, "POST", "/tasks/{task_id}/move", {"after": "side_task_id"}),
        (422, "POST", "/tasks/{task_id}/move", {"at": "top", "section_id": "side_section_id"}),
        (422, "POST", "/tasks/{task_id}/move", {"at": "top", "section_id": "foreign_section_id"}),
        (404, "POST", "/projects/{project_id}/sections/{section_id}/move", {"after": "foreign_section_id"}),
        (404, "POST", "/projects/{foreign_project_id}/sections", {"name": "New"}),
        (422, "PATCH", "/tasks/{task_id}", {"section_id": "foreign_section_id"}),
        (422, "POST", "/projects/{project_id}/tasks", {**task, "section_id": "side_section_id"}),
        (404, "POST", "/tasks", {**task, "project_id": "foreign_project_id"}),
        (404, "POST", "/tasks", {**task, "project_id": "stranger_inbox_id"}),
        (404, "POST", "/tasks", {**task, "project_id": "unknown_id"}),
        (404, "POST", "/projects/{foreign_project_id}/tasks", task),
        (422, "POST", "/tasks", {**task, "assignee_id": "stranger_id"}),
        # A member of the project, but not of the Inbox.
        (422, "POST", "/tasks", {**task, "assignee_id": "editor_id"}),
        (422, "POST", "/tasks", {**task, "project_id": "project_id", "assignee_id": "stranger_id"}),
        (422, "POST", "/tasks", {**task, "project_id": "project_id", "assignee_id": "removed_id"}),
        (422, "POST", "/projects/{project_id}/tasks", {**task, "assignee_id": "stranger_id"}),
        (422, "POST", "/projects/{project_id}/tasks", {**task, "project_id": "side_project_id"}),
        (404, "POST", "/tasks/{foreign_task_id}/comments", {"body": "New"}),
        (404, "GET", "/tasks/{foreign_task_id}/comments", None),
        (404, "GET", "/projects/{foreign_project_id}/tasks", None),
        (404, "GET", "/projects/{foreign_project_id}/members", None),
        (404, "GET", "/projects/{project_id}/members/{stranger_id}", None),
        (404, "GET", "/projects/{project_id}/members/{removed_id}", None),
        (404, "GET", "/projects/{foreign_project_id}/members/{stranger_id}", None),
        (404, "PUT", "/projects/{project_id}/members/{stranger_id}", {"role": "viewer"}),
        (404, "PUT", "/projects/{side_project_id}/members/{editor_id}", {"role": "owner"}),
        (404, "PUT", "/projects/{foreign_project_id}/members/{owner_id}", {"role": "owner"}),
        (404, "DELETE", "/projects/{project_id}/members/{stranger_id}", None),
        (404, "DELETE", "/projects/{side_project_id}/members/{editor_id}", None),
        (404, "DELETE", "/projects/{foreign_project_id}/members/{stranger_id}", None),
        (404, "POST", "/projects/{foreign_project_id}/members", {"username": "owner", "role": "owner"}),
        (404, "POST", "/projects/{stranger_inbox_id}/members", {"username": "owner", "role": "owner"}),
        (404, "PATCH", "/projects/{foreign_project_id}", {"name": "Mine"}),
        (404, "DELETE", "/projects/{foreign_project_id}", None),
        (404, "POST", "/tasks/bulk", {"tasks": [{**task, "project_id": "foreign_project_id"}]}),
        (409, "POST", "/tasks/bulk", {"tasks": [{**task, "project_id": "archived_project_id"}]}),
        (422, "POST", "/tasks/bulk", {"tasks": [task, {**task, "project_id": "side_project_id"}]}),
        (422, "POST", "/tasks/bulk", {"tasks": [task, {**task, "assignee_id": "stranger_id"}]}),
        (404, "PATCH", "/tasks/bulk", {"ids": ["foreign_task_id"], "set": task}),
        (404, "PATCH", "/tasks/bulk", {"ids": ["task_id", "foreign_task_id"], "set": task}),
        (404, "PATCH", "/tasks/bulk", {"ids": ["task_id", "unknown_id"], "set": task}),
        (404, "PATCH", "/tasks/bulk", {"tasks": [{"id": "foreign_task_id", "version": 1}], "set": task}),
        (422, "PATCH", "/tasks/bulk", {"ids": ["task_id", "side_task_id"], "set": task}),
        (422, "PATCH", "/tasks/bulk", {"ids": ["task_id"], "set": {"assignee_id": "stranger_id"}}),
        (422, "PATCH", "/tasks/bulk", {"ids": ["task_id"], "set": {"project_id": "foreign_project_id"}}),
        (409, "PATCH", "/tasks/bulk", {"ids": ["archived_task_id"], "set": task}),
        (404, "DELETE", "/tasks/bulk?id={foreign_task_id}", None),
        (404, "DELETE", "/tasks/bulk?id={task_id}&id={foreign_task_id}", None),
        (422, "DELETE", "/tasks/bulk?id={task_id}&id={side_task_id}", None),
        (404, "GET", "/tasks/{foreign_task_id}/activity", None),
        (404, "GET", "/projects/{foreign_project_id}/activity", None),
        (404, "POST", "/notifications/{foreign_notification_id}/read", None),
        (404, "POST", "/notifications/{unknown_id}/read", None),
        (404, "DELETE", "/users/me/sessions/{foreign_session_id}", None),
        (404, "DELETE", "/users/me/sessions/{unknown_id}", None),
        (404, "DELETE", "/users/me/api-keys/{foreign_key_id}", None),
        (404, "DELETE", "/users/me/api-keys/{unknown_id}", None),
    ]
    return [pytest.param(*case, id=f"{case[1]} {case[2]} {case[3] or ''}".strip()) for case in cases]


def with_ids(body: Any, ids: dict[str, int]) -> Any:
    """Put ids in place of their names, wherever they stand."""
    if isinstance(body, dict):
        return {name: with_ids(value, ids) for name, value in body.items()}
    if isinstance(body, list):
        return [with_ids(value, ids) for value in body]
    return ids.get(body, body) if isinstance(body, str) else body


class TestSwappedIds:
    """Ids that don't belong together, in paths and bodies, sent by somebody with every right of their own."""

    @pytest.fixture
    async def ids(self, world: World, database: Database) -> dict[str, int]:
        """All ids by name, the stranger's among them."""
        statement = "SELECT id FROM projects WHERE inbox_of = :id"
        inbox: int = (await fetch_one(database, statement, id=world.ids["stranger_id"]))["id"]
        return {
            **world.ids,
            "stranger_inbox_id": inbox,
            "unknown_id": 2**52,
            "foreign_session_id": world.own_ids["stranger"]["session_id"],
            "foreign_key_id": world.own_ids["stranger"]["key_id"],
            "foreign_notification_id": world.own_ids["stranger"]["notification_id"],
        }

    @pytest.mark.parametrize(("status", "method", "path", "body"), swapped())
    async def test_are_refused_and_change_nothing(
        self,
        client: httpx.AsyncClient,
        database: Database,
        world: World,
        ids: dict[str, int],
        status: int,
        method: str,
        path: str,
        body: dict[str, Any] | None,
    ) -> None:
        before = await digests(database)
        response = await client.request(
            method, API + path.format_map(ids), json=with_ids(body, ids), headers=world.logins["owner"].headers
        )
        assert response.status_code == status, response.text
        assert "Elsewhere" not in response.text
        assert await digests(database) == before

    async def test_a_list_filtered_by_a_foreign_project_is_empty(
        self, client: httpx.AsyncClient, world: World, ids: dict[str, int]
    ) -> None:
        parameters = {"project_id": ids["foreign_project_id"]}
        answer = await client.get(f"{API}/tasks", params=parameters, headers=world.logins["owner"].headers)
        assert (answer.status_code, answer.json()["total"], answer.json()["tasks"]) == (200, 0, [])

    @pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
    async def test_an_editor_may_not_change_the_comment_of_another(
        self, client: httpx.AsyncClient, database: Database, world: World, method: str
    ) -> None:
        before = await digests(database)
        for name in ("owner_comment_id", "removed_comment_id"):
            path = f"{API}/tasks/{world.ids['task_id']}/comments/{world.ids[name]}"
            body = None if method == "DELETE" else {"body": "New"}
            answer = await client.request(method, path, json=body, headers=world.logins["editor"].headers)
            assert (answer.status_code, problem_of(answer)) == (403, "not-author")
        assert await digests(database) == before

    @pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
    async def test_a_removed_author_does_not_see_their_own_comment(
        self, client: httpx.AsyncClient, database: Database, world: World, method: str
    ) -> None:
        before = await digests(database)
        path = f"{API}/tasks/{world.ids['task_id']}/comments/{world.ids['removed_comment_id']}"
        body = {"body": "New"} if method in {"PUT", "PATCH"} else None
        answer = await client.request(method, path, json=body, headers=world.logins["removed"].headers)
        assert answer.status_code == 404
        assert MARKER not in answer.text
        assert await digests(database) == before
