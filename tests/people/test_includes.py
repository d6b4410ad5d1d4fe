"""`include=people` names everybody whom an answer names, and nobody else."""

from typing import Any

import pytest

from tests.conftest import PASSWORD, Person, SignUp


@pytest.fixture
async def named(alice: Person, bob: Person) -> dict[str, Any]:
    """Alice and Bob as others see them, under their ids."""
    await bob.patch("/users/me", {"display_name": "Bob the Builder"})
    return {
        str(alice.id): {"id": alice.id, "username": "alice", "display_name": None},
        str(bob.id): {"id": bob.id, "username": "bob", "display_name": "Bob the Builder"},
    }


@pytest.fixture
async def task(bob: Person, alice: Person, garden: int) -> dict[str, Any]:
    """A task that Bob made for Alice, with a comment of Bob's."""
    task = await bob.new_task(garden, assignee_id=alice.id)
    await bob.post(f"/tasks/{task['id']}/comments", {"body": "Please @alice"})
    return task


async def both(person: Person, path: str, **query: Any) -> tuple[Any, Any]:
    """Return an answer without and with people, of which the second has only those besides."""
    plain = (await person.get(path, params=query)).json()
    full = (await person.get(path, params={**query, "include": "people"})).json()
    people = full.pop("people")
    assert "people" not in plain
    assert full == plain
    assert list(people) == [str(person["id"]) for person in people.values()]
    return plain, people


async def test_every_read_names_the_people_in_it(
    alice: Person, bob: Person, named: dict[str, Any], garden: int, task: dict[str, Any]
) -> None:
    only = {who.username: {str(who.id): named[str(who.id)]} for who in (alice, bob)}
    comment = (await alice.get(f"/tasks/{task['id']}/comments")).json()["comments"][0]["id"]
    for path, people in (
        ("/tasks", named),
        (f"/projects/{garden}/tasks", named),
        (f"/tasks/{task['id']}", named),
        (f"/projects/{garden}/tasks/{task['id']}", named),
        (f"/tasks/{task['id']}/comments", only["bob"]),
        (f"/tasks/{task['id']}/comments/{comment}", only["bob"]),
        (f"/tasks/{task['id']}/activity", only["bob"]),
        (f"/projects/{garden}/activity", named),
        (f"/projects/{garden}/members", named),
        (f"/projects/{garden}/members/{bob.id}", only["bob"]),
        ("/notifications", only["bob"]),
    ):
        assert (await both(alice, path))[1] == people, path


async def test_a_page_names_those_of_the_page_alone(
    alice: Person, bob: Person, named: dict[str, Any], garden: int
) -> None:
    for person in (alice, bob, alice):
        await person.new_task(garden)
    path: str | None = f"/projects/{garden}/tasks?include=people&limit=1&sort_by=created_at&order=asc"
    seen = []
    while path:
        answer = await alice.get(path)
        seen.append(answer.json()["people"])
        link = answer.headers.get("Link")
        path = f"/projects/{garden}/tasks{link.partition('<')[2].partition('>')[0]}" if link else None
    assert seen == [{str(who.id): named[str(who.id)]} for who in (alice, bob, alice)]
    assert (await both(alice, f"/projects/{garden}/tasks", search="none of that"))[1] == {}


async def test_cursors_are_good_with_and_without(alice: Person, garden: int) -> None:
    for _ in range(3):
        await alice.new_task(garden)
    cursor = (await alice.get("/tasks", params={"limit": 1})).json()["next_cursor"]
    page = (await alice.get("/tasks", params={"limit": 1, "cursor": cursor, "include": "people"})).json()
    assert list(page["people"]) == [str(alice.id)]
    assert len((await alice.get("/tasks", params={"cursor": page["next_cursor"]})).json()["tasks"]) == 1


async def test_activity_names_who_had_a_task_and_who_was_a_member(
    alice: Person, bob: Person, named: dict[str, Any], garden: int, sign_up: SignUp
) -> None:
    carol = await sign_up("carol")
    task = await alice.new_task(garden, assignee_id=bob.id)
    await alice.post(f"/projects/{garden}/members", {"username": "carol", "role": "editor"})
    await alice.patch(f"/tasks/{task['id']}", {"assignee_id": carol.id})
    await carol.post("/users/me/delete", {"password": PASSWORD}, expect=204)
    gone = {str(carol.id): {"id": carol.id, "username": None, "display_name": None}}
    assert (await both(alice, f"/tasks/{task['id']}/activity"))[1] == {**named, **gone}
    events, people = await both(alice, f"/projects/{garden}/activity")
    assert people == {**named, **gone}
    assert {event["entity_id"] for event in events["events"] if event["entity"] == "member"} == {bob.id, carol.id}


async def test_deleted_authors_are_not_named_where_the_answer_does_not_name_them(
    alice: Person, bob: Person, task: dict[str, Any]
) -> None:
    await bob.post("/users/me/delete", {"password": PASSWORD}, expect=204)
    comments, people = await both(alice, f"/tasks/{task['id']}/comments")
    assert (comments["comments"][0]["author"], people) == (None, {})
    comment = comments["comments"][0]["id"]
    assert (await both(alice, f"/tasks/{task['id']}/comments/{comment}"))[1] == {}
    assert (await both(alice, "/notifications"))[1] == {}


@pytest.mark.parametrize("include", ["people", "counts"])
async def test_an_answer_with_more_is_never_304_and_its_tag_is_good_for_a_write(
    alice: Person, task: dict[str, Any], include: str
) -> None:
    path = f"/tasks/{task['id']}"
    plain = await alice.get(path)
    known = {"If-None-Match": plain.headers["ETag"]}
    await alice.get(path, 304, headers=known)
    answer = await alice.get(path, params={"include": include}, headers=known)
    assert answer.headers["ETag"] == plain.headers["ETag"]
    await alice.get(path, 304, headers=known, params={"include": ""})
    await alice.patch(path, {"priority": 5}, headers={"If-Match": answer.headers["ETag"]})
    await alice.patch(path, {"priority": 4}, 412, headers={"If-Match": answer.headers["ETag"]})


async def test_a_comment_with_people_is_never_304(alice: Person, task: dict[str, Any]) -> None:
    comment = (await alice.get(f"/tasks/{task['id']}/comments")).json()["comments"][0]["id"]
    path = f"/tasks/{task['id']}/comments/{comment}"
    for query, status in ({}, 304), ({"include": "people"}, 200):
        await alice.get(path, status, params=query, headers={"If-None-Match": '"1"'})


async def test_what_cannot_be_included_is_422(alice: Person, task: dict[str, Any], garden: int) -> None:
    for path, include in (
        ("/tasks", "everything"),
        (f"/tasks/{task['id']}", "people,counts"),
        (f"/tasks/{task['id']}/comments", "counts"),
        (f"/projects/{garden}/members", "counts"),
        ("/notifications", "counts"),
        ("/projects", "people"),
    ):
        await alice.get(path, 422, params={"include": include})


async def test_a_stranger_gets_no_names(alice: Person, task: dict[str, Any], garden: int, sign_up: SignUp) -> None:
    carol = await sign_up("carol")
    for path in (f"/tasks/{task['id']}", f"/projects/{garden}/members", f"/projects/{garden}/activity"):
        await carol.get(path, 404, params={"include": "people"})
    assert (await both(carol, "/tasks"))[1] == {}
    assert (await carol.get("/tasks", params={"id": task["id"], "include": "people"})).json()["people"] == {}
