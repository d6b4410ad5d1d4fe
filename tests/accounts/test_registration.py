"""Making an account."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.event_log import count_rows
from tests.support.sessions import open_session

GOOD = {"username": "dora", "email": "dora@example.com", "password": "a long enough secret"}


async def register(client: httpx.AsyncClient, expect: int = 201, **values: Any) -> dict[str, Any]:
    """Register with good values but for those given, and check the status."""
    response = await client.post("/api/v1/users", json={**GOOD, **values})
    assert response.status_code == expect, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def stored_users(database: Database) -> list[dict[str, Any]]:
    """Return the rows of all users."""
    async with open_session(database) as session:
        return [dict(row) for row in (await session.execute(text("SELECT * FROM users"))).mappings()]


async def test_answers_the_account_without_its_password(client: httpx.AsyncClient) -> None:
    account = await register(client)
    assert account == {
        "id": account["id"],
        "username": "dora",
        "email": "dora@example.com",
        "disabled": False,
        "is_admin": False,
        "display_name": None,
        "time_zone": "UTC",
        "created_at": account["created_at"],
    }


@pytest.mark.usefixtures("costly_hashes")
async def test_stores_an_argon2id_hash_and_no_password(client: httpx.AsyncClient, database: Database) -> None:
    await register(client)
    (user,) = await stored_users(database)
    assert user["password_hash"].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert GOOD["password"] not in str(user)


async def test_comes_with_an_inbox(client: httpx.AsyncClient) -> None:
    await register(client)
    form = {"username": GOOD["username"], "password": GOOD["password"]}
    token = (await client.post("/api/v1/token", data=form)).json()["access_token"]
    projects = await client.get("/api/v1/projects", headers={"Authorization": f"Bearer {token}"})
    assert [(p["name"], p["personal"], p["role"]) for p in projects.json()["projects"]] == [("Inbox", True, "owner")]


async def test_emails_are_lowered(client: httpx.AsyncClient) -> None:
    assert (await register(client, email="Dora.Smith@EXAMPLE.Com"))["email"] == "dora.smith@example.com"


@pytest.mark.parametrize("username", ["abc", "x" * 50, "Dora_99", "___", "123"])
async def test_good_usernames_are_kept_as_written(client: httpx.AsyncClient, username: str) -> None:
    assert (await register(client, username=username))["username"] == username


BAD_VALUES: dict[str, tuple[Any, ...]] = {
    "username": (
        *("", "ab", "x" * 51, "a b", "a-b", "dörte", "ab\nc", " ab ", "a\x00b", "\u0661\u0662\u0663"),
        *(None, 12345, ["dora"]),
    ),
    "email": (
        "",
        "dora",
        "dora@",
        "@example.com",
        "do ra@example.com",
        "dora@example.com, eve@example.com",
        "Dora <dora@example.com>",
        "dora@exam\x00ple.com",
        "dora@example.com\nBcc: eve@example.com",
        f"{'x' * 300}@example.com",
        f"{'İ' * 60}@{'x' * 63}.{'y' * 63}.{'z' * 48}.com",  # 303 characters in lower case
        None,
        1,
    ),
    "password": ("", "short", "seven77", "x" * 129, "password", "Password123", "iloveyou1", None, 12345678),
}


@pytest.mark.parametrize("field", BAD_VALUES)
async def test_bad_values_are_422_and_make_no_account(
    client: httpx.AsyncClient, database: Database, field: str, subtests: pytest.Subtests
) -> None:
    for value in BAD_VALUES[field]:
        with subtests.test(value=repr(value)[:40]):
            problem = await register(client, 422, **{field: value})
            assert {tuple(error["loc"]) for error in problem["errors"]} == {("body", field)}
    assert await count_rows(database, "users") == 0
    assert await count_rows(database, "projects") == 0


@pytest.mark.parametrize("password", ["correctly", "CORRECTLY", "correctly@example.com"])
async def test_the_password_is_not_the_name_or_the_address(client: httpx.AsyncClient, password: str) -> None:
    await register(client, 422, username="correctly", email="correctly@example.com", password=password)


@pytest.mark.parametrize("field", ["username", "email", "password"])
async def test_nothing_may_be_missing(client: httpx.AsyncClient, field: str) -> None:
    body = {name: value for name, value in GOOD.items() if name != field}
    response = await client.post("/api/v1/users", json=body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["body", field]


@pytest.mark.parametrize("field", ["id", "is_admin", "disabled", "created_at", "password_hash", "role", "deleted_at"])
async def test_nothing_else_may_be_given(client: httpx.AsyncClient, database: Database, field: str) -> None:
    await register(client, 422, **{field: True})
    assert await count_rows(database, "users") == 0


@pytest.mark.parametrize("password", ["abcdefgh", "x" * 128, "spaces are fine", "пароль\u00a0😀😀", "  padded  "])
async def test_good_passwords_work_exactly_as_given(client: httpx.AsyncClient, password: str) -> None:
    await register(client, password="x1" + password[2:])
    form = {"username": GOOD["username"], "password": "x1" + password[2:]}
    assert (await client.post("/api/v1/token", data=form)).status_code == 200
    stripped = {**form, "password": form["password"].strip() + "!"}
    assert (await client.post("/api/v1/token", data=stripped)).status_code == 401


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("username", "alice"),
        ("username", "ALICE"),
        ("email", "alice@example.com"),
        ("email", "Alice@Example.COM"),
    ],
)
async def test_a_taken_name_or_address_is_409(client: httpx.AsyncClient, alice: Person, field: str, value: str) -> None:
    problem = await register(client, 409, **{field: value})
    assert problem["type"] == "/docs/problems#already-taken"
    assert problem["field"] == field


async def test_the_same_name_at_once_is_taken_once(client: httpx.AsyncClient, database: Database) -> None:
    bodies = [{**GOOD, "email": f"dora{number}@example.com"} for number in range(4)]
    answers = await asyncio.gather(*(client.post("/api/v1/users", json=body) for body in bodies))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert await count_rows(database, "users") == 1
    assert await count_rows(database, "projects") == 1
