"""Many moves in the patterns of people, and many people who move at the same time.

`ORDER_MOVES=10000 pytest tests/tasks/test_order_patterns.py -s` makes as many of each pattern as the contract names;
tests/ordering makes as many without a database.
"""

import asyncio
import os
from itertools import islice

import pytest

from taskmanager.database.database import Database
from taskmanager.ordering.keys import MOST_CHARACTERS, default_key
from tests.conftest import Person, SignUp
from tests.support.event_log import events_of
from tests.support.move_patterns import PATTERNS, apply
from tests.support.moves import share
from tests.support.orders import ids_in_order, move, new_section, new_tasks, tasks_in_order
from tests.support.rows import fetch_all

MOVES = int(os.environ.get("ORDER_MOVES", "110"))
WRITERS = 32


@pytest.mark.parametrize("name", PATTERNS)
async def test_the_order_is_that_of_the_moves(alice: Person, project_id: int, name: str) -> None:
    ids = await new_tasks(alice, project_id, 120)
    order = list(ids)
    for thing, side, neighbour in islice(PATTERNS[name](ids), MOVES):
        await move(alice, thing, {side: neighbour})
        apply(order, (thing, side, neighbour))
    tasks = await tasks_in_order(alice, project_id)
    assert [task["id"] for task in tasks] == order
    longest = max(len(task["position"]) for task in tasks)
    print(f"{name}: {MOVES} moves, keys of up to {longest} characters")
    assert longest <= MOST_CHARACTERS


async def test_where_there_is_no_room_up_to_a_hundred_get_new_keys(
    alice: Person, project_id: int, database: Database
) -> None:
    ids = await new_tasks(alice, project_id, 250)
    order = list(ids)
    # Between the last two, until the next key would be too long.
    steps = PATTERNS["between the last two"](ids)
    renewed: set[int] = set()
    while len(renewed) < 2:
        before = {task["id"]: task["version"] for task in await tasks_in_order(alice, project_id)}
        thing, side, neighbour = next(steps)
        await move(alice, thing, {side: neighbour})
        apply(order, (thing, side, neighbour))
        after = {task["id"]: task["version"] for task in await tasks_in_order(alice, project_id)}
        renewed = {one for one in ids if after[one] != before[one]}
    assert await ids_in_order(alice, project_id) == order
    assert thing in renewed
    assert len(renewed) <= 100
    for one in renewed:
        event = (await events_of(database, "task", one))[-1]
        assert (event["action"], event["version"], set(event["changes"])) == ("updated", after[one], {"position"})
    assert (await move(alice, ids[0], {"at": "bottom"}))["position"] < default_key(ids[-1] + 1)


async def test_many_who_move_to_one_place_all_get_there(
    sign_up: SignUp, alice: Person, project_id: int, database: Database
) -> None:
    people = [alice, *[await sign_up(f"writer{n}") for n in range(7)]]
    for person in people[1:]:
        await share(alice, project_id, person)
    first, fixed, last, *ids = await new_tasks(alice, project_id, WRITERS + 3)
    moving = [
        move(people[n % len(people)], one, {("after", "before")[n % 2]: fixed}, None) for n, one in enumerate(ids)
    ]
    answers = await asyncio.gather(*moving)
    assert [answer["version"] for answer in answers] == [2] * WRITERS
    order = await ids_in_order(alice, project_id)
    place = order.index(fixed)
    assert order[0] == first
    assert set(order[1:place]) == set(ids[1::2])
    assert set(order[place + 1 : -1]) == set(ids[0::2])
    assert order[-1] == last
    rows = await fetch_all(database, "SELECT position FROM tasks WHERE position IS NOT NULL")
    assert len({row["position"] for row in rows}) == WRITERS


async def test_moves_meet_other_changes_without_an_error(alice: Person, source: int, target: int) -> None:
    ids = await new_tasks(alice, source, 12)
    section_id = await new_section(alice, source)
    work = []
    for n, one in enumerate(ids):
        work += [
            move(alice, one, {"before": ids[(n + 5) % 12]}, None),
            move(alice, one, {"at": "top", "section_id": section_id}, None),
            alice.patch(f"/tasks/{one}", {"title": f"Renamed {n}"}, None),
            alice.patch("/tasks/bulk", {"ids": ids[:6], "set": {"priority": 1 + n % 5}}, None),
        ]
    work.append(alice.patch(f"/tasks/{ids[0]}", {"project_id": target}, None))
    work.append(alice.delete(f"/projects/{source}/sections/{section_id}", None))
    answers = await asyncio.gather(*work, return_exceptions=True)
    assert not [one for one in answers if isinstance(one, BaseException)]
    for answer in answers:
        status = answer["status"] if isinstance(answer, dict) and isinstance(answer.get("status"), int) else 200
        status = getattr(answer, "status_code", status)
        assert status in {200, 204, 404, 422}, answer
    order = await tasks_in_order(alice, source)
    assert sorted(task["id"] for task in order) == sorted(ids[1:])
    assert {task["section_id"] for task in order} == {None}
    assert len({task["position"] for task in order}) == 11
