"""Where If-Match is demanded; and of writers that race, one wins."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.main import create_app
from tests.conftest import Person, client_for, make_settings
from tests.support.credentials import bearer
from tests.support.resources import KINDS, METHODS, Resource, kind_of, make_resource, share
from tests.support.rows import digests

RACES = 100


RACERS = 8


@pytest.fixture(scope="module")
async def strict_app(database_url: str) -> AsyncIterator[FastAPI]:
    """The application with REQUIRE_IF_MATCH."""
    app = create_app(make_settings(database_url=database_url, require_if_match=True))
    async with app.router.lifespan_context(app):
        yield app


class TestDemanded:
    """With REQUIRE_IF_MATCH a write without the header is refused."""

    @pytest.fixture
    async def strict(self, alice: Person, strict_app: FastAPI) -> AsyncIterator[Person]:
        """Alice, on a server that demands it."""
        async with client_for(strict_app, headers=bearer(alice.token)) as client:
            yield replace(alice, client=client)

    @pytest.fixture
    async def strict_bob(self, bob: Person, strict_app: FastAPI) -> AsyncIterator[Person]:
        """Bob, on the same server."""
        async with client_for(strict_app, headers=bearer(bob.token)) as client:
            yield replace(bob, client=client)

    @pytest.mark.parametrize("method", METHODS)
    async def test_a_write_without_it_is_428_and_changes_nothing(
        self, strict: Person, resource: Resource, method: str, database: Database
    ) -> None:
        before = await digests(database)
        answer = await resource.write(strict, method)
        assert (answer.status_code, kind_of(answer)) == (428, "precondition-required")
        assert await digests(database) == before

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("kind", KINDS)
    async def test_a_write_with_it_is_done(self, strict: Person, kind: str, method: str) -> None:
        for tags in ('"1"', "*"):
            resource = await make_resource(kind, strict)
            answer = await resource.write(strict, method, If_Match=tags)
            assert answer.status_code == (204 if method == "DELETE" else 200)

    @pytest.mark.parametrize("method", METHODS)
    async def test_a_stale_one_is_412(self, strict: Person, resource: Resource, method: str) -> None:
        assert (await resource.write(strict, method, If_Match='"2"')).status_code == 412

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    async def test_a_change_of_nothing_is_428_too(
        self, alice: Person, strict: Person, resource: Resource, method: str
    ) -> None:
        value = (await alice.get(resource.path)).json()[resource.field]
        assert (await resource.write(strict, method, value)).status_code == 428

    async def test_a_move_without_it_is_428_and_it_stays(self, strict: Person) -> None:
        task = await make_resource("task", strict)
        await strict.patch(task.path, {"project_id": strict.inbox_id}, 428)
        assert (await strict.get(task.path)).json()["project_id"] == task.project_id
        moved = await strict.patch(task.path, {"project_id": strict.inbox_id}, headers={"If-Match": '"1"'})
        assert moved.json()["project_id"] == strict.inbox_id

    @pytest.mark.parametrize("method", METHODS)
    async def test_404_comes_first(self, strict: Person, strict_bob: Person, resource: Resource, method: str) -> None:
        assert (await resource.write(strict_bob, method)).status_code == 404

    @pytest.mark.parametrize("method", METHODS)
    async def test_403_comes_first(self, alice: Person, strict_bob: Person, resource: Resource, method: str) -> None:
        await share(alice, resource, strict_bob, "viewer")
        assert (await resource.write(strict_bob, method)).status_code == 403

    @pytest.mark.parametrize("method", METHODS)
    async def test_409_for_an_archived_project_comes_first(
        self, alice: Person, strict: Person, resource: Resource, method: str
    ) -> None:
        await alice.patch(f"/projects/{resource.project_id}", {"archived": True})
        answer = await resource.write(strict, method)
        # An archived project may be deleted, so there the header is all that is missing.
        deletes_project = method == "DELETE" and resource.collection == "/projects"
        assert answer.status_code == (428 if deletes_project else 409)

    async def test_an_inbox_is_not_deleted_or_archived_whatever_the_header(self, strict: Person) -> None:
        inbox = f"/projects/{strict.inbox_id}"
        assert kind_of(await strict.delete(inbox, 409)) == "personal-project"
        assert kind_of(await strict.patch(inbox, {"archived": True}, 409)) == "personal-project"

    async def test_reads_and_new_things_need_none(self, strict: Person, resource: Resource) -> None:
        await strict.get(resource.path)
        await strict.post(resource.collection, resource.body())


class TestRace:
    """Of all who write at once with the same tag, one wins."""

    async def test_every_race_has_one_winner(self, alice: Person) -> None:
        task = await make_resource("task", alice)
        for version in range(1, RACES + 1):
            answers = await asyncio.gather(
                *(
                    alice.patch(task.path, {"title": f"{version}-{racer}"}, None, headers={"If-Match": f'"{version}"'})
                    for racer in range(RACERS)
                )
            )
            assert sorted(answer.status_code for answer in answers) == [200] + [412] * (RACERS - 1)
            winner = next(answer.json() for answer in answers if answer.status_code == 200)
            assert (await alice.get(task.path)).json() == winner
            assert winner["version"] == version + 1
            for answer in answers:
                if answer.status_code == 412:
                    assert (answer.json()["current_version"], answer.json()["changed_fields"]) == (
                        version + 1,
                        ["title"],
                    )

    @pytest.mark.parametrize("kind", ["project", "comment"])
    async def test_projects_and_comments_have_one_too(self, alice: Person, kind: str) -> None:
        resource = await make_resource(kind, alice)
        for version in range(1, 11):
            answers = await asyncio.gather(
                *(
                    resource.write(alice, "PATCH", f"{version}-{racer}", If_Match=f'"{version}"')
                    for racer in range(RACERS)
                )
            )
            assert sorted(answer.status_code for answer in answers) == [200] + [412] * (RACERS - 1)

    async def test_a_change_and_a_deletion_never_both_happen(self, alice: Person) -> None:
        for _ in range(10):
            task = await make_resource("task", alice)
            changed, deleted = await asyncio.gather(
                task.write(alice, "PATCH", If_Match='"1"'), task.write(alice, "DELETE", If_Match='"1"')
            )
            assert (changed.status_code, deleted.status_code) in {(200, 412), (404, 204)}
