"""Comments on tasks."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from taskmanager.database.database import Database
from tests.conftest import Person, SignUp
from tests.support.event_log import count_rows, events_of
from tests.support.locks import until_blocked
from tests.support.sessions import open_transaction


@pytest.fixture
async def path(alice: Person) -> str:
    """Where the comments of one of Alice's tasks are."""
    return f"/tasks/{(await alice.new_task())['id']}/comments"


async def add_member(database: Database, path: str, person: Person, role: str) -> None:
    """Make somebody a member of the project of a task."""
    statement = text("""
        INSERT INTO project_members (project_id, user_id, role)
        SELECT project_id, :user_id, :role FROM tasks WHERE id = :task_id
    """)
    async with open_transaction(database) as session:
        parameters = {"user_id": person.id, "role": role, "task_id": int(path.split("/")[2])}
        await session.execute(statement, parameters)


class TestCreate:
    """POST .../comments."""

    async def test_answers_the_comment_and_where_it_is(self, alice: Person, path: str) -> None:
        response = await alice.post(path, {"body": "Well done"})
        comment = response.json()
        assert comment == {
            "id": comment["id"],
            "project_id": alice.inbox_id,
            "task_id": int(path.split("/")[2]),
            "body": "Well done",
            "author": {"id": alice.id, "username": "alice", "display_name": None},
            "created_at": comment["created_at"],
            "updated_at": comment["created_at"],
            "version": 1,
        }
        assert response.headers["Location"] == f"/api/v1{path}/{comment['id']}"
        assert (await alice.client.get(response.headers["Location"])).json() == comment

    async def test_bodies_are_trimmed_and_may_have_10000_characters(self, alice: Person, path: str) -> None:
        longest = "😀\n" * 4_999 + "😀😀"
        assert len(longest) == 10_000
        assert (await alice.post(path, {"body": f"  {longest}\n"})).json()["body"] == longest

    @pytest.mark.parametrize(
        "body",
        [{}, {"body": ""}, {"body": " \n"}, {"body": "x" * 10_001}, {"body": None}, {"body": 1}, {"body": "a\x00b"}],
        ids=lambda body: repr(body)[:30],
    )
    async def test_other_bodies_are_422(self, alice: Person, path: str, body: Any, database: Database) -> None:
        await alice.post(path, body, expect=422)
        assert await count_rows(database, "comments") == 0

    @pytest.mark.parametrize("field", ["id", "task_id", "author", "author_id", "created_at", "version"])
    async def test_nothing_but_the_body_can_be_given(self, alice: Person, path: str, field: str) -> None:
        await alice.post(path, {"body": "Fine", field: 1}, expect=422)

    async def test_on_a_missing_task_is_404(self, alice: Person) -> None:
        await alice.post("/tasks/999999/comments", {"body": "Anyone?"}, expect=404)

    async def test_on_a_task_deleted_meanwhile_is_404(self, alice: Person, path: str, database: Database) -> None:
        async with open_transaction(database) as session:
            await session.execute(text("DELETE FROM tasks"))
            creation = asyncio.create_task(alice.post(path, {"body": "Late"}, None))
            await until_blocked(database)
        assert (await creation).status_code == 404


class TestRead:
    """GET .../comments and GET .../comments/{comment_id}."""

    async def test_lists_are_oldest_first(self, alice: Person, path: str) -> None:
        created = [(await alice.post(path, {"body": body})).json() for body in ("one", "two", "three")]
        page = (await alice.get(path)).json()
        assert page["comments"] == created
        assert page["next_cursor"] is None

    async def test_a_task_without_comments_has_an_empty_list(self, alice: Person, path: str) -> None:
        assert (await alice.get(path)).json()["comments"] == []

    async def test_the_list_of_a_missing_task_is_404(self, alice: Person) -> None:
        await alice.get("/tasks/999999/comments", 404)

    async def test_a_list_has_the_comments_of_its_task_only(self, alice: Person, path: str) -> None:
        await alice.post(path, {"body": "here"})
        other = await alice.new_task()
        await alice.post(f"/tasks/{other['id']}/comments", {"body": "there"})
        assert [comment["body"] for comment in (await alice.get(path)).json()["comments"]] == ["here"]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
class TestUpdate:
    """PUT and PATCH, which mean the same."""

    async def test_changes_the_body(self, alice: Person, path: str, method: str, database: Database) -> None:
        before = (await alice.post(path, {"body": "Old"})).json()
        after = (await alice.request(method, f"{path}/{before['id']}", 200, json={"body": " New "})).json()
        assert after == {**before, "body": "New", "version": 2, "updated_at": after["updated_at"]}
        assert after["updated_at"] > before["updated_at"]
        assert (await alice.get(f"{path}/{before['id']}")).json() == after
        log = await events_of(database, "comment", before["id"])
        assert [event["action"] for event in log] == ["created", "updated"]
        assert log[1] == {
            "project_id": alice.inbox_id,
            "actor_id": alice.id,
            "version": 2,
            "action": "updated",
            "changes": {"body": {"old": "Old", "new": "New"}},
        }

    async def test_the_same_body_writes_nothing(
        self, alice: Person, path: str, method: str, database: Database
    ) -> None:
        before = (await alice.post(path, {"body": "Same"})).json()
        response = await alice.request(method, f"{path}/{before['id']}", 200, json={"body": "Same"})
        assert response.json() == before
        assert len(await events_of(database, "comment", before["id"])) == 1

    @pytest.mark.parametrize("body", [{}, {"body": ""}, {"body": None}, {"body": "New", "author_id": 1}], ids=repr)
    async def test_other_bodies_are_422(self, alice: Person, path: str, method: str, body: Any) -> None:
        comment = (await alice.post(path, {"body": "Old"})).json()
        await alice.request(method, f"{path}/{comment['id']}", 422, json=body)
        assert (await alice.get(f"{path}/{comment['id']}")).json() == comment


async def test_deleting_takes_one_comment_and_is_logged(alice: Person, path: str, database: Database) -> None:
    comment = (await alice.post(path, {"body": "Gone"})).json()
    kept = (await alice.post(path, {"body": "Kept"})).json()
    await alice.delete(f"{path}/{comment['id']}")
    await alice.delete(f"{path}/{comment['id']}", 404)
    assert (await alice.get(path)).json()["comments"] == [kept]
    log = await events_of(database, "comment", comment["id"])
    assert [(event["action"], event["version"]) for event in log] == [("created", 1), ("deleted", 2)]


async def test_creation_is_logged_with_the_body(alice: Person, path: str, database: Database) -> None:
    comment = (await alice.post(path, {"body": "New"})).json()
    (event,) = await events_of(database, "comment", comment["id"])
    assert (event["project_id"], event["actor_id"], event["version"]) == (alice.inbox_id, alice.id, 1)
    assert event["changes"]["body"] == {"old": None, "new": "New"}


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
class TestNotFound:
    """What is not there, or not for this caller, is 404."""

    async def test_a_comment_of_another_task(self, alice: Person, path: str, method: str) -> None:
        comment = (await alice.post(path, {"body": "Here"})).json()
        other = await alice.new_task()
        body = {"body": "New"} if method in {"PUT", "PATCH"} else None
        for task_id in (other["id"], 999_999):
            await alice.request(method, f"/tasks/{task_id}/comments/{comment['id']}", 404, json=body)
        await alice.request(method, f"{path}/999999", 404, json=body)
        assert (await alice.get(f"{path}/{comment['id']}")).json() == comment

    async def test_a_foreign_comment(self, alice: Person, bob: Person, path: str, method: str) -> None:
        comment = (await alice.post(path, {"body": "Mine"})).json()
        own = await bob.new_task()
        body = {"body": "Ours"} if method in {"PUT", "PATCH"} else None
        await bob.request(method, f"{path}/{comment['id']}", 404, json=body)
        await bob.request(method, f"/tasks/{own['id']}/comments/{comment['id']}", 404, json=body)
        assert (await alice.get(f"{path}/{comment['id']}")).json() == comment


async def test_strangers_neither_list_nor_comment(alice: Person, bob: Person, path: str) -> None:
    await alice.post(path, {"body": "Mine"})
    await bob.get(path, 404)
    await bob.post(path, {"body": "Hello"}, expect=404)
    assert len((await alice.get(path)).json()["comments"]) == 1


class TestMembers:
    """In a shared project a comment is changed by its author, while they may write, and by the owners."""

    async def test_members_see_who_wrote(self, alice: Person, bob: Person, path: str, database: Database) -> None:
        await add_member(database, path, bob, "editor")
        await bob.post(path, {"body": "Hello"})
        (comment,) = (await alice.get(path)).json()["comments"]
        assert comment["author"] == {"id": bob.id, "username": "bob", "display_name": None}

    async def test_an_editor_changes_their_own(self, alice: Person, bob: Person, path: str, database: Database) -> None:
        await add_member(database, path, bob, "editor")
        comment = (await bob.post(path, {"body": "Helo"})).json()
        await bob.patch(f"{path}/{comment['id']}", {"body": "Hello"})
        await bob.delete(f"{path}/{comment['id']}")

    async def test_an_owner_changes_anyones_and_stays_not_the_author(
        self, alice: Person, bob: Person, path: str, database: Database
    ) -> None:
        await add_member(database, path, bob, "editor")
        comment = (await bob.post(path, {"body": "Rude"})).json()
        changed = (await alice.patch(f"{path}/{comment['id']}", {"body": "Polite"})).json()
        assert changed["author"]["username"] == "bob"
        assert (await events_of(database, "comment", comment["id"]))[-1]["actor_id"] == alice.id
        await alice.delete(f"{path}/{comment['id']}")

    async def test_another_editor_is_403(
        self, alice: Person, bob: Person, sign_up: SignUp, path: str, database: Database
    ) -> None:
        carol = await sign_up("carol")
        for person in (bob, carol):
            await add_member(database, path, person, "editor")
        comment = (await bob.post(path, {"body": "Bob's"})).json()
        problem = (await carol.patch(f"{path}/{comment['id']}", {"body": "Carol's"}, 403)).json()
        assert problem["type"] == "/docs/problems#not-author"
        await carol.delete(f"{path}/{comment['id']}", 403)
        assert (await bob.get(f"{path}/{comment['id']}")).json() == comment

    async def test_a_viewer_reads_only(self, alice: Person, bob: Person, path: str, database: Database) -> None:
        await add_member(database, path, bob, "viewer")
        comment = (await alice.post(path, {"body": "Hello"})).json()
        assert (await bob.get(path)).json()["comments"] == [comment]
        await bob.post(path, {"body": "Hi"}, 403)
        await bob.patch(f"{path}/{comment['id']}", {"body": "Hi"}, 403)
        await bob.delete(f"{path}/{comment['id']}", 403)

    async def test_an_author_who_became_a_viewer_is_403(
        self, alice: Person, bob: Person, path: str, database: Database
    ) -> None:
        await add_member(database, path, bob, "editor")
        comment = (await bob.post(path, {"body": "Hello"})).json()
        async with open_transaction(database) as session:
            await session.execute(
                text("UPDATE project_members SET role = 'viewer' WHERE user_id = :id AND project_id = :project"),
                {"id": bob.id, "project": alice.inbox_id},
            )
        await bob.patch(f"{path}/{comment['id']}", {"body": "Hi"}, 403)
        await bob.delete(f"{path}/{comment['id']}", 403)


class TestTwoWriters:
    """Requests that meet at one comment."""

    @pytest.mark.parametrize(("method", "body"), [("PATCH", {"body": "New"}), ("DELETE", None)])
    async def test_a_comment_deleted_while_one_waits_is_404(
        self, alice: Person, path: str, database: Database, method: str, body: Any
    ) -> None:
        comment = (await alice.post(path, {"body": "Old"})).json()
        async with open_transaction(database) as session:
            await session.execute(text("DELETE FROM comments"))
            request = asyncio.create_task(alice.request(method, f"{path}/{comment['id']}", json=body))
            await until_blocked(database)
        assert (await request).status_code == 404
        assert len(await events_of(database, "comment", comment["id"])) == 1

    async def test_the_log_has_the_body_that_was_really_replaced(
        self, alice: Person, path: str, database: Database
    ) -> None:
        comment = (await alice.post(path, {"body": "Old"})).json()
        async with open_transaction(database) as session:
            await session.execute(text("UPDATE comments SET body = 'Theirs', version = version + 1"))
            update = asyncio.create_task(alice.patch(f"{path}/{comment['id']}", {"body": "Mine"}))
            await until_blocked(database)
        assert (await update).json()["version"] == 3
        log = await events_of(database, "comment", comment["id"])
        assert log[-1]["changes"] == {"body": {"old": "Theirs", "new": "Mine"}}

    async def test_writing_what_the_other_has_just_written_is_no_change(
        self, alice: Person, path: str, database: Database
    ) -> None:
        comment = (await alice.post(path, {"body": "Old"})).json()
        async with open_transaction(database) as session:
            await session.execute(text("UPDATE comments SET body = 'Same', version = version + 1"))
            update = asyncio.create_task(alice.patch(f"{path}/{comment['id']}", {"body": "Same"}))
            await until_blocked(database)
        assert (await update).json()["version"] == 2
        assert len(await events_of(database, "comment", comment["id"])) == 1


@pytest.mark.parametrize(
    ("method", "suffix", "body"),
    [
        ("GET", "", None),
        ("POST", "", {"body": "New"}),
        ("GET", "/{comment}", None),
        ("PATCH", "/{comment}", {"body": "New"}),
        ("DELETE", "/{comment}", None),
    ],
)
async def test_an_operation_is_one_statement_that_checks_the_login_too(
    alice: Person, path: str, query_recorder: list[str], method: str, suffix: str, body: Any
) -> None:
    comment = (await alice.post(path, {"body": "Old"})).json()
    query_recorder.clear()
    response = await alice.request(method, path + suffix.format(comment=comment["id"]), json=body)
    assert response.is_success
    (statement,) = query_recorder
    assert "FROM sessions" in statement
    assert ("INSERT INTO events" in statement) == (method != "GET")
