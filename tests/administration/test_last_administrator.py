"""One administrator who can log in always stays, whoever is shut out or goes."""

import asyncio

import httpx

from taskmanager.database.database import Database
from tests.conftest import PASSWORD, Person, SignUp
from tests.support.credentials import API, Key, new_key
from tests.support.locks import until_blocked
from tests.support.memberships import kind
from tests.support.rows import digests, execute, fetch_all
from tests.support.sessions import open_transaction

DELETE = "/users/me/delete"
GOOD = {"password": PASSWORD}
ABLE = "SELECT id FROM users WHERE is_admin AND NOT disabled ORDER BY id"


async def switch(client: httpx.AsyncClient, action: str, person: Person, key: Key) -> httpx.Response:
    """Disable or enable an account."""
    return await client.post(f"{API}/admin/users/{person.id}/{action}", headers=key.in_header)


async def test_the_only_one_can_neither_disable_nor_delete_the_account(
    client: httpx.AsyncClient, administrator: Person, key: Key, alice: Person, database: Database
) -> None:
    before = await digests(database)
    refused = await switch(client, "disable", administrator, key)
    assert (refused.status_code, kind(refused)) == (409, "last-administrator")
    refused = await administrator.post(DELETE, GOOD, expect=409)
    assert kind(refused) == "last-administrator"
    assert await digests(database) == before
    await administrator.get("/users/me")


async def test_one_who_is_disabled_does_not_count(
    client: httpx.AsyncClient, administrator: Person, key: Key, sign_up: SignUp
) -> None:
    other = await sign_up("other", is_admin=True)
    assert (await switch(client, "disable", other, key)).status_code == 200
    assert (await switch(client, "disable", other, key)).status_code == 200
    assert (await switch(client, "disable", administrator, key)).status_code == 409
    await administrator.post(DELETE, GOOD, expect=409)
    await switch(client, "enable", other, key)
    await administrator.post(DELETE, GOOD, expect=204)
    await other.post(DELETE, GOOD, expect=409)


async def test_others_are_disabled_and_deleted_as_before(
    client: httpx.AsyncClient, key: Key, alice: Person, bob: Person
) -> None:
    assert (await switch(client, "disable", alice, key)).status_code == 200
    await bob.post(DELETE, GOOD, expect=204)


async def test_of_two_who_disable_each_other_one_stays(
    client: httpx.AsyncClient, administrator: Person, key: Key, sign_up: SignUp, database: Database
) -> None:
    other = await sign_up("other", is_admin=True)
    other_key = await new_key(other, "admin")
    for person, one in ((administrator, key), (other, other_key)):  # notes the use of the keys
        assert (await switch(client, "enable", person, one)).status_code == 200
    async with open_transaction(database) as session:
        # Both have got in before one of them is through.
        await session.connection()
        await (await session.connection()).exec_driver_sql("SELECT FROM users WHERE is_admin ORDER BY id FOR UPDATE")
        both = asyncio.gather(
            switch(client, "disable", other, key), switch(client, "disable", administrator, other_key)
        )
        await until_blocked(database, waiting=2)
    assert sorted(answer.status_code for answer in await both) == [200, 409]
    assert len(await fetch_all(database, ABLE)) == 1


async def test_of_two_who_delete_their_accounts_one_stays(
    administrator: Person, sign_up: SignUp, database: Database
) -> None:
    other = await sign_up("other", is_admin=True)
    answers = await asyncio.gather(*(person.post(DELETE, GOOD, expect=None) for person in (administrator, other)))
    assert sorted(answer.status_code for answer in answers) == [204, 409]
    assert len(await fetch_all(database, ABLE)) == 1


async def test_one_who_goes_while_being_disabled_by_the_other_leaves_one(
    client: httpx.AsyncClient, administrator: Person, key: Key, sign_up: SignUp, database: Database
) -> None:
    other = await sign_up("other", is_admin=True)
    for _ in range(5):
        await execute(database, "UPDATE users SET disabled = false WHERE is_admin AND deleted_at IS NULL")
        answers = await asyncio.gather(
            switch(client, "disable", other, key), administrator.post(DELETE, GOOD, expect=None)
        )
        able = await fetch_all(database, ABLE)
        assert len(able) == 1, [answer.text for answer in answers]
        if able[0]["id"] != administrator.id:
            break
