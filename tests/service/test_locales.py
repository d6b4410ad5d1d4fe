"""Case is folded by Unicode's rules, whatever the locale of the database, and text has one spelling."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from alembic import command
from sqlalchemy import make_url

from taskmanager.commands.doctor.database import examine_database
from taskmanager.commands.doctor.findings import Level
from taskmanager.database.schema_migrations import alembic_config
from taskmanager.main import create_app
from tests.conftest import PASSWORD, make_settings
from tests.support.applications import started
from tests.support.databases import temporary_database
from tests.support.server import connect

LOCALES = {
    "C": "TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C'",
    "Turkish": "TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'tr-TR' LOCALE 'C'",
    "C.UTF-8": "TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER builtin LOCALE 'C.UTF-8'",
}
API = "/api/v1"
# What is searched, and a title in which it is.
FOUND = (
    ("\u00fcbersicht", "\u00dcBERSICHT"),
    ("\u00dcBERSICHT", "u\u0308bersicht"),
    ("U\u0308BERsicht", "Die \u00fcbersicht"),
    ("cafe\u0301", "Caf\u00e9"),
    ("CAF\u00c9", "cafe\u0301 noir"),
    ("\u043f\u0440\u0438\u0432\u0435\u0442", "\u041f\u0420\u0418\u0412\u0415\u0422"),
    ("\u03bf\u03b4\u03cc\u03c2", "\u039f\u0394\u039f\u0301\u03a3"),
    ("\u039f\u0394\u03cc\u03a3", "\u03bf\u03b4\u03cc\u03c2"),
    ("istanbul", "\u0130STANBUL"),
    ("ISTANBUL", "istanbul"),
    ("TITLE", "title"),
    ("\u00e9", "\u00c9"),
    ("\uac01", "\u1100\u1161\u11a8"),
    ("\u4f60\u597d", "\u4f60\u597d\u5417"),
    ("100%_\\", "at 100%_\\ now"),
)
SORTED = ("ALPHA", "\u00e4", "\u00c4B", "i", "I2", "\u0416", "\u0437")


@pytest.fixture(params=LOCALES)
async def url(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[str]:
    """A database of another locale than that of the other tests, with the schema."""
    try:
        async with temporary_database(database_url, LOCALES[request.param]) as url:
            await asyncio.to_thread(command.upgrade, alembic_config(url), "head")
            yield url
    except asyncpg.FeatureNotSupportedError as error:
        pytest.skip(f"the server has no such locale: {error}")


@pytest.fixture
async def client(url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the service on it, logged in as ALI."""
    async with started(create_app(make_settings(database_url=url))) as client:
        person = {"username": "ALI", "email": "ALI@Example.com", "password": PASSWORD}
        assert (await client.post(f"{API}/users", json=person)).status_code == 201
        token = (await client.post(f"{API}/token", data=person)).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


async def titles(client: httpx.AsyncClient, **query: Any) -> list[str]:
    """Return the titles of the tasks that a list gives."""
    response = await client.get(f"{API}/tasks", params=query)
    assert response.status_code == 200, response.text
    return [task["title"] for task in response.json()["tasks"]]


async def test_a_search_finds_every_case_and_spelling(
    client: httpx.AsyncClient, subtests: pytest.Subtests, url: str
) -> None:
    for search, title in FOUND:
        for field in ("title", "description"):
            with subtests.test(search=search, field=field):
                body = {"title": "x", field: title}
                task = (await client.post(f"{API}/tasks", json=body)).json()
                assert await titles(client, search=search) == [task["title"]]
                assert (await client.delete(f"{API}/tasks/{task['id']}")).status_code == 204
    # So does the statement for those who have more than few tasks.
    connection = await connect(make_url(url))
    await connection.execute(
        "INSERT INTO tasks (project_id, title) SELECT id, 'Filler ' || n FROM projects, generate_series(1, 600) AS n"
    )
    await connection.close()
    for search, title in FOUND:
        with subtests.test(search=search, many=True):
            task = (await client.post(f"{API}/tasks", json={"title": title})).json()
            assert await titles(client, search=search) == [task["title"]]
            assert (await client.delete(f"{API}/tasks/{task['id']}")).status_code == 204


async def test_titles_are_sorted_without_case(client: httpx.AsyncClient) -> None:
    for title in reversed(SORTED):
        assert (await client.post(f"{API}/tasks", json={"title": title})).status_code == 201
    expected = sorted(SORTED, key=str.lower)
    assert await titles(client, sort_by="title", order="asc") == expected
    seen = []
    path: str | None = f"{API}/tasks?sort_by=title&order=asc&limit=2"
    while path is not None:
        page = (await client.get(path)).json()
        seen += [task["title"] for task in page["tasks"]]
        cursor = page["next_cursor"]
        path = None if cursor is None else f"{API}/tasks?sort_by=title&order=asc&limit=2&cursor={cursor}"
    assert seen == expected


async def test_names_are_the_same_in_every_case(client: httpx.AsyncClient) -> None:
    for name in ("ALI", "ali", "Ali", " ali\n"):
        response = await client.post(f"{API}/token", data={"username": name, "password": PASSWORD})
        assert response.status_code == 200, name
    for username, email in (("ali", "other@example.com"), ("other", "ali@EXAMPLE.COM")):
        taken = await client.post(f"{API}/users", json={"username": username, "email": email, "password": PASSWORD})
        assert taken.status_code == 409
    bob = {"username": "BIRGIT", "email": "birgit@example.com", "password": PASSWORD}
    assert (await client.post(f"{API}/users", json=bob)).status_code == 201
    for given in ({"username": "birgit"}, {"email": "BIRGIT@example.com"}):
        project = (await client.post(f"{API}/projects", json={"name": "Shared"})).json()["id"]
        added = await client.post(f"{API}/projects/{project}/members", json={**given, "role": "editor"})
        assert added.status_code == 201, added.text
        task = (await client.post(f"{API}/tasks", json={"title": "x", "project_id": project})).json()["id"]
        await client.post(f"{API}/tasks/{task}/comments", json={"body": "\u4ea4\u7ed9@birgit\u5904\u7406"})
    token = (await client.post(f"{API}/token", data=bob)).json()["access_token"]
    inbox = await client.get(f"{API}/notifications", headers={"Authorization": f"Bearer {token}"})
    assert [one["kind"] for one in inbox.json()["notifications"]] == ["mentioned"] * 2


async def test_two_spellings_of_a_tag_are_one(client: httpx.AsyncClient) -> None:
    tags = ["Caf\u00e9", "cafe\u0301", "CAFE\u0301", " caf\u00e9 ", "I", "i"]
    task = (await client.post(f"{API}/tasks", json={"title": "x", "tags": tags})).json()
    assert task["tags"] == ["caf\u00e9", "i"]
    for tag in (*tags, ["cafe\u0301", "caf\u00e9"]):
        assert await titles(client, tag=tag) == ["x"]


async def test_doctor_says_what_the_locale_costs(url: str) -> None:
    connection = await connect(make_url(url))
    knows_letters = await connection.fetchval("SELECT '\u00fc' ~ '^[[:alpha:]]$'")
    await connection.close()
    findings = await examine_database(make_settings(database_url=url), 1)
    warned = [one.level for one in findings if "the locale of the database knows ASCII" in one.message]
    assert warned == ([] if knows_letters else [Level.WARNING])
