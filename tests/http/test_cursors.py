"""Cursors: what they hold, what is refused, and the rotation of their secret."""

import pytest
from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.main import create_app
from tests.conftest import SECRET, Person, client_for, make_settings
from tests.support.credentials import bearer
from tests.support.pages import LISTS, SORTS, Query, Stock, assert_refused, bendings, make_list, with_values


class TestCursor:
    """A cursor is good for one list, filter, sort and user, and nobody can make one."""

    QUERY = (("status", "pending"), ("sort_by", "title"), ("order", "asc"))

    async def _cursor(self, person: Person, path: str = "/tasks", query: Query = QUERY) -> str:
        cursor = (await person.get(path, params=[*query, ("limit", 2)])).json()["next_cursor"]
        assert cursor
        return str(cursor)

    @pytest.mark.parametrize(
        "other",
        [
            (("sort_by", "title"), ("order", "asc")),
            (("status", "completed"), ("sort_by", "title"), ("order", "asc")),
            (*QUERY, ("status", "completed")),
            (*QUERY, ("priority", 1)),
            (*QUERY, ("tag", "home")),
            (*QUERY, ("assignee", "me")),
            (*QUERY, ("due_after", "2020-01-01T00:00:00Z")),
            (*QUERY, ("due_before", "2030-01-01T00:00:00Z")),
            (*QUERY, ("overdue", "false")),
            (*QUERY, ("search", "a")),
            (("status", "pending"), ("sort_by", "title"), ("order", "desc")),
            (("status", "pending"), ("sort_by", "title")),
            *((("status", "pending"), ("sort_by", name), ("order", "asc")) for name in SORTS if name != "title"),
        ],
        ids=repr,
    )
    async def test_with_another_filter_or_order_it_is_400(self, alice: Person, stock: Stock, other: Query) -> None:
        cursor = await self._cursor(alice)
        await assert_refused(alice, "/tasks", [*other, ("cursor", cursor)])
        await alice.get("/tasks", params=[*self.QUERY, ("cursor", cursor)])

    async def test_with_other_projects_it_is_400(self, alice: Person, stock: Stock) -> None:
        first, second = stock.project_ids
        cursor = await self._cursor(alice, query=[*self.QUERY, ("project_id", first)])
        for others in ([second], [first, second], [alice.inbox_id], []):
            query = [*self.QUERY, *(("project_id", project_id) for project_id in others), ("cursor", cursor)]
            await assert_refused(alice, "/tasks", query)
        await assert_refused(alice, f"/projects/{second}/tasks", [*self.QUERY, ("cursor", cursor)])

    async def test_of_one_project_it_is_400_at_another(self, alice: Person, stock: Stock) -> None:
        first, second = (f"/projects/{project_id}/tasks" for project_id in stock.project_ids)
        cursor = await self._cursor(alice, first)
        for path in (second, "/tasks", f"/projects/{alice.inbox_id}/tasks"):
            await assert_refused(alice, path, [*self.QUERY, ("cursor", cursor)])

    async def test_for_another_user_it_is_400(self, alice: Person, bob: Person, stock: Stock) -> None:
        for project_id in stock.project_ids:
            await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "owner"})
        await assert_refused(bob, "/tasks", [*self.QUERY, ("cursor", await self._cursor(alice))])

    async def test_of_every_list_it_is_400_at_all_others(
        self, alice: Person, administrator: Person, database: Database
    ) -> None:
        lists = [await make_list(name, alice, administrator, database) for name in LISTS]
        cursors = []
        for one in lists:
            await one.fill(3)
            page = await one.reader.get(one.path, params=with_values(one.path, limit=1))
            cursors.append(page.json()["next_cursor"])
        for index, one in enumerate(lists):
            for other_index, cursor in enumerate(cursors):
                query = with_values(one.path, cursor=cursor, limit=1)
                if index == other_index:
                    await one.reader.get(one.path, params=query)
                else:
                    await assert_refused(one.reader, one.path, query)
        for cursor in cursors:
            await assert_refused(alice, "/tasks", [("cursor", cursor)])

    @pytest.mark.parametrize("name", ["comments", "members", "task activity", "project activity"])
    async def test_of_one_thing_it_is_400_at_another_of_its_kind(
        self, alice: Person, administrator: Person, database: Database, name: str
    ) -> None:
        one, other = [await make_list(name, alice, administrator, database) for _ in range(2)]
        await one.fill(3)
        cursor = (await alice.get(one.path, params={"limit": 1})).json()["next_cursor"]
        await assert_refused(alice, other.path, [("cursor", cursor)])

    @pytest.mark.parametrize("name", ["comments", "members", "task activity", "project activity"])
    async def test_of_somebody_else_it_is_400_at_a_shared_list(
        self, alice: Person, bob: Person, administrator: Person, database: Database, name: str
    ) -> None:
        shared = await make_list(name, alice, administrator, database)
        await alice.post(f"/projects/{shared.parameters['project_id']}/members", {"username": "bob", "role": "owner"})
        await shared.fill(3)
        cursor = (await alice.get(shared.path, params={"limit": 1})).json()["next_cursor"]
        await assert_refused(bob, shared.path, [("cursor", cursor)])
        await alice.get(shared.path, params={"cursor": cursor})

    async def test_of_unread_notifications_it_is_400_at_the_others(
        self, alice: Person, administrator: Person, database: Database
    ) -> None:
        unread = await make_list("unread notifications", alice, administrator, database)
        await unread.fill(3)
        cursor = (await alice.get("/notifications", params={"unread": True, "limit": 1})).json()["next_cursor"]
        for query in ([], [("unread", False)]):
            await assert_refused(alice, "/notifications", [*query, ("cursor", cursor)])

    async def test_bent_anywhere_it_is_400(self, alice: Person, stock: Stock) -> None:
        cursor = await self._cursor(alice)
        for bent in bendings(cursor):
            await assert_refused(alice, "/tasks", [*self.QUERY, ("cursor", bent)])

    async def test_it_can_be_written_in_one_way_only(self, alice: Person, stock: Stock) -> None:
        alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        # Titles of three lengths leave 0, 2 and 4 bits of the last character unused.
        for title in ("0", "00", "000"):
            for _ in range(2):
                await alice.new_task(title=title)
        page = (await alice.get("/tasks", params=[*self.QUERY, ("limit", 1)])).json()
        for _ in range(5):
            cursor = page["next_cursor"]
            others = [cursor[:-1] + last for last in alphabet if last != cursor[-1]]
            others += [
                cursor + "=",
                cursor + "==",
                cursor + "A",
                cursor[:-1],
                f"{cursor[:9]}!{cursor[9:]}",
                f" {cursor}",
            ]
            others += [f"{cursor}\n", cursor.replace("-", "+").replace("_", "/") + "."]
            for other in others:
                await assert_refused(alice, "/tasks", [*self.QUERY, ("cursor", other)])
            page = (await alice.get("/tasks", params=[*self.QUERY, ("limit", 1), ("cursor", cursor)])).json()

    @pytest.mark.parametrize(
        "garbage", ["x", "AAAA", "null", "0", "\x00", "é", "😀", "🏴\u202e", "=", "A" * 4_000, "../..", "' OR 1=1 --"]
    )
    async def test_garbage_is_400(self, alice: Person, stock: Stock, garbage: str) -> None:
        await assert_refused(alice, "/tasks", [("cursor", garbage)])
        await assert_refused(alice, "/projects", [("cursor", garbage)])

    @pytest.mark.parametrize("length", [0, 4_001])
    async def test_an_empty_or_too_long_one_is_422(self, alice: Person, length: int) -> None:
        for path in ("/tasks", "/projects", f"/projects/{alice.inbox_id}/activity"):
            answer = await alice.get(path, 422, params={"cursor": "A" * length})
            assert answer.json()["errors"][0]["loc"] == ["query", "cursor"]


class TestRotation:
    """Cursors outlive a change of the secret as long as the old one is named."""

    NEW = "another secret for tests only, of more than 32 bytes"

    async def _ask(self, database_url: str, alice: Person, cursor: str, **settings: str) -> int:
        app = create_app(make_settings(database_url=database_url, **settings))
        token = app.state.token_signer.access_token(alice.id, alice.session_id)
        async with app.router.lifespan_context(app), client_for(app, headers=bearer(token)) as client:
            return (await client.get("/api/v1/tasks", params={"cursor": cursor})).status_code

    async def test_with_the_previous_secret_named_it_is_good(
        self, alice: Person, stock: Stock, database_url: str
    ) -> None:
        cursor = (await alice.get("/tasks", params={"limit": 2})).json()["next_cursor"]
        assert await self._ask(database_url, alice, cursor, secret_key=self.NEW, secret_key_previous=SECRET) == 200
        assert await self._ask(database_url, alice, cursor, secret_key=self.NEW) == 400

    async def test_new_ones_are_made_with_the_new_secret(
        self, alice: Person, stock: Stock, database_url: str, app: FastAPI
    ) -> None:
        rotated = create_app(make_settings(database_url=database_url, secret_key=self.NEW, secret_key_previous=SECRET))
        async with rotated.router.lifespan_context(rotated), client_for(rotated, headers=bearer(alice.token)) as client:
            cursor = (await client.get("/api/v1/tasks", params={"limit": 2})).json()["next_cursor"]
        await assert_refused(alice, "/tasks", [("cursor", cursor)])
        assert await self._ask(database_url, alice, cursor, secret_key=self.NEW) == 200
