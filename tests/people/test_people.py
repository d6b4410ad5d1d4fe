"""Who sees whom."""

import pytest

from tests.conftest import PASSWORD, Person, SignUp
from tests.support.credentials import API, new_key


async def sees(person: Person, other: Person) -> bool:
    """Return whether a person sees another, by both routes."""
    answer = await person.get(f"/users/{other.id}", None)
    listed = (await person.get("/users", params={"id": other.id})).json()["users"]
    if answer.status_code == 404:
        assert listed == []
        return False
    assert answer.status_code == 200
    assert [answer.json()] == listed
    assert answer.json()["id"] == other.id
    return True


async def test_members_of_a_common_project_see_each_other(
    alice: Person, bob: Person, garden: int, sign_up: SignUp
) -> None:
    carol = await sign_up("carol")
    await bob.patch("/users/me", {"display_name": "Bob the Builder"})
    person = (await alice.get(f"/users/{bob.id}")).json()
    assert person == {"id": bob.id, "username": "bob", "display_name": "Bob the Builder"}
    assert await sees(bob, alice)
    assert await sees(alice, alice)
    assert not await sees(alice, carol)
    assert not await sees(carol, alice)
    await alice.post(f"/projects/{garden}/members", {"username": "carol", "role": "viewer"})
    assert await sees(carol, bob)
    assert await sees(bob, carol)
    await alice.delete(f"/projects/{garden}/members/{carol.id}")
    assert not await sees(bob, carol)
    assert not await sees(carol, bob)


async def test_who_has_left_is_seen_as_long_as_a_task_or_a_comment_is_there(
    alice: Person, bob: Person, garden: int
) -> None:
    task = await bob.new_task(garden)
    comment = (await bob.post(f"/tasks/{task['id']}/comments", {"body": "Mine"})).json()
    await bob.delete(f"/projects/{garden}/members/{bob.id}")
    assert await sees(alice, bob)
    assert not await sees(bob, alice)
    await alice.delete(f"/tasks/{task['id']}/comments/{comment['id']}")
    assert await sees(alice, bob)
    await alice.delete(f"/tasks/{task['id']}")
    assert not await sees(alice, bob)


async def test_who_wrote_before_a_task_came_is_seen_where_it_is_now(
    alice: Person, bob: Person, garden: int, sign_up: SignUp
) -> None:
    carol = await sign_up("carol")
    target = await alice.new_project("Target")
    await alice.post(f"/projects/{target}/members", {"username": "carol", "role": "viewer"})
    task = await alice.new_task(garden)
    await bob.post(f"/tasks/{task['id']}/comments", {"body": "Mine"})
    assert not await sees(carol, bob)
    await alice.patch(f"/tasks/{task['id']}", {"project_id": target})
    assert await sees(carol, bob)
    assert not await sees(bob, carol)


async def test_of_a_deleted_account_the_id_is_left(alice: Person, bob: Person, garden: int) -> None:
    task = await bob.new_task(garden)
    await bob.post(f"/tasks/{task['id']}/comments", {"body": "Mine"})
    await bob.patch("/users/me", {"display_name": "Bob the Builder"})
    await bob.post("/users/me/delete", {"password": PASSWORD}, expect=204)
    assert (await alice.get(f"/users/{bob.id}")).json() == {"id": bob.id, "username": None, "display_name": None}
    await alice.delete(f"/tasks/{task['id']}")
    await alice.get(f"/users/{bob.id}", 404)


async def test_people_come_in_the_order_of_the_request(
    alice: Person, bob: Person, garden: int, sign_up: SignUp
) -> None:
    carol = await sign_up("carol")
    ids = [bob.id, 10**9, carol.id, alice.id, bob.id]
    found = (await alice.get("/users", params=[("id", one) for one in ids])).json()
    assert list(found) == ["users"]
    assert [person["id"] for person in found["users"]] == [bob.id, alice.id]
    assert (await alice.get("/users", params={"id": carol.id})).json() == {"users": []}


@pytest.mark.parametrize(
    "query", ["", "id=", "id=0", "id=x", "id=1&limit=1", "&".join(f"id={n}" for n in range(1, 102))]
)
async def test_from_1_to_100_ids_are_given(alice: Person, query: str) -> None:
    await alice.get(f"/users?{query}", 422)
    assert (await alice.get("/users?" + "&".join(f"id={n + 10**9}" for n in range(100)))).json() == {"users": []}


async def test_the_own_account_has_the_route_that_it_had(alice: Person) -> None:
    assert "email" in (await alice.get("/users/me")).json()
    assert "email" not in (await alice.get(f"/users/{alice.id}")).json()


async def test_a_key_needs_to_read_tasks(alice: Person) -> None:
    for scope, status in (("tasks:read", 200), ("projects:read", 403)):
        key = await new_key(alice, scope)
        for path in (f"/users/{alice.id}", f"/users?id={alice.id}"):
            assert (await alice.client.get(API + path, headers=key.in_header)).status_code == status
