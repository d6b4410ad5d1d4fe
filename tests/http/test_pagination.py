"""Pages by key of every list: each element once, in order, whatever others do meanwhile."""

import random
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.pages import (
    LISTS,
    List,
    assert_refused,
    bendings,
    make_list,
    next_target,
    walk,
    with_values,
)


@pytest.fixture(params=LISTS)
async def a_list(request: pytest.FixtureRequest, alice: Person, administrator: Person, database: Database) -> List:
    """Each of the lists besides tasks."""
    return await make_list(request.param, alice, administrator, database)


class TestLists:
    """Every list but that of tasks."""

    async def test_pages_together_are_the_whole_list(self, a_list: List) -> None:
        added = await a_list.fill(20)
        whole = await walk(a_list.reader, a_list.path, a_list.key, limit=100)
        ids = [element[a_list.identity] for element in whole]
        assert [element_id for element_id in ids if element_id in set(added)] == added
        for limit in (1, 3, 10, len(whole) - 1, len(whole)):
            assert await walk(a_list.reader, a_list.path, a_list.key, limit=limit) == whole

    async def test_a_page_that_takes_all_that_is_left_is_the_last(self, a_list: List) -> None:
        await a_list.fill(5)
        count = len(await a_list.ids(limit=100))
        page = await a_list.reader.get(a_list.path, params=with_values(a_list.path, limit=count))
        assert (page.json()["next_cursor"], "Link" in page.headers) == (None, False)
        page = await a_list.reader.get(a_list.path, params=with_values(a_list.path, limit=count - 1))
        assert page.json()["next_cursor"] is not None
        assert "Link" in page.headers

    async def test_what_was_there_throughout_appears_once_while_others_come_and_go(self, a_list: List) -> None:
        added = await a_list.fill(30)
        short_lived = set(added[::4])
        lasting = [element_id for element_id in added if element_id not in short_lived]
        chance = random.Random(2)

        async def disturb(seen: list[dict[str, Any]]) -> None:
            # The one that the cursor names goes too, if it may.
            last = seen[-1][a_list.identity]
            for element_id in {last, *chance.sample(sorted(short_lived), min(1, len(short_lived)))} & short_lived:
                short_lived.remove(element_id)
                await a_list.remove(element_id)
            for place in (-1, chance.randrange(10), 1_000):
                await a_list.add(place)

        ids = await a_list.ids(limit=2, between=disturb)
        assert [element_id for element_id in ids if element_id in set(lasting)] == lasting
        assert len(set(ids)) == len(ids)

    async def test_following_the_link_leads_through_the_list(self, a_list: List) -> None:
        await a_list.fill(7)
        whole = await a_list.ids(limit=100)
        response = await a_list.reader.get(a_list.path, params=with_values(a_list.path, limit=3))
        ids = [element[a_list.identity] for element in response.json()[a_list.key]]
        while "Link" in response.headers:
            assert response.json()["next_cursor"] == dict(parse_qsl(urlsplit(next_target(response)).query))["cursor"]
            response = await a_list.reader.client.get(next_target(response))
            assert response.status_code == 200
            assert len(response.json()[a_list.key]) <= 3
            ids += [element[a_list.identity] for element in response.json()[a_list.key]]
        assert ids == whole

    async def test_limits_outside_their_range_are_422_never_clamped(self, a_list: List) -> None:
        for limit in ("0", "101", "1.0", "abc", "-1", "", "1_0", " 1", "+1", "\u0661", "1e1", "99999999999999999999"):
            answer = await a_list.reader.get(a_list.path, None, params=with_values(a_list.path, limit=limit))
            assert answer.status_code == 422, limit
            assert answer.json()["errors"][0]["loc"] == ["query", "limit"]
        for fine in (1, 100):
            await a_list.reader.get(a_list.path, params=with_values(a_list.path, limit=fine))

    async def test_unknown_parameters_are_422_and_named(self, a_list: List) -> None:
        for name in ("skip", "offset", "page", "Limit", "cursor_", "count"):
            answer = await a_list.reader.get(a_list.path, 422, params=with_values(a_list.path, **{name: "1"}))
            assert answer.json()["errors"][0]["loc"] == ["query", name]

    async def test_a_bent_cursor_is_400(self, a_list: List) -> None:
        await a_list.fill(5)
        cursor = (await a_list.reader.get(a_list.path, params=with_values(a_list.path, limit=2))).json()["next_cursor"]
        for bent in bendings(cursor)[:: len(cursor) // 10]:
            await assert_refused(a_list.reader, a_list.path, with_values(a_list.path, cursor=bent))
        await a_list.reader.get(a_list.path, params=with_values(a_list.path, cursor=cursor))
