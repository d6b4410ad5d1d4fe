"""How processes share webhooks: each is claimed once, and who has lost a claim records nothing."""

import asyncio

from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.webhooks.claims import Claim, Fresh, Frozen
from taskmanager.webhooks.schedule import Attempt, DeliveryState, Outcome
from tests.conftest import Person
from tests.support.webhook_receivers import Received, Receiver, Write, answer, until
from tests.support.webhooks import new_hook, new_sender, pass_time, sending

DELIVERED = Outcome(DeliveryState.DELIVERED)


async def test_each_webhook_is_claimed_once(alice: Person, app: FastAPI) -> None:
    hooks = [await new_hook(alice, await alice.new_project(), f"https://8.8.8.{n}/") for n in range(20)]
    for hook in hooks:
        await alice.new_task(hook.project_id)
    claims = new_sender(app)._claims
    found: list[Claim] = []

    async def enough() -> bool:
        for some in await asyncio.gather(*(claims.claim(7, 4, {}) for _ in range(6))):
            found.extend(some)
        return len(found) >= 20

    await until(enough)
    assert sorted(claim.webhook_id for claim in found) == sorted(hook.id for hook in hooks)
    assert await claims.claim(32, 4, {}) == []


async def test_of_a_host_as_many_as_are_free(alice: Person, app: FastAPI) -> None:
    for n in range(6):
        hook = await new_hook(alice, await alice.new_project(), f"https://8.8.8.8/{n}")
        await alice.new_task(hook.project_id)
    claims = new_sender(app)._claims

    async def claimed(busy: int) -> int:
        found = await claims.claim(32, 4, {"8.8.8.8": busy})
        for claim in found:
            await claims.release(claim)
        return len(found)

    for busy, expected in ((4, 0), (3, 1), (0, 4)):

        async def is_so(busy: int = busy, expected: int = expected) -> bool:
            return await claimed(busy) == expected

        await until(is_so)


async def test_who_has_lost_a_claim_changes_nothing(alice: Person, app: FastAPI, database: Database) -> None:
    hook = await new_hook(alice, await alice.new_project(), "https://8.8.8.8/")
    await alice.new_task(hook.project_id)
    claims = new_sender(app)._claims
    found: list[Claim] = []

    async def claim() -> bool:
        found.extend(await claims.claim(1, 4, {}))
        return bool(found)

    await until(claim)
    (first,) = found
    next_one = await claims.look(first)
    assert next_one is not None
    assert isinstance(next_one.work, Fresh)
    frozen = await claims.freeze(first, next_one.work, "msg_x", b"{}")
    assert frozen is not None
    await pass_time(database, minutes=1)  # its lease ends
    found.clear()
    await until(claim)
    (second,) = found
    assert second.token == first.token + 1
    assert await claims.look(first) is None
    assert await claims.freeze(first, next_one.work, "msg_x", b"[]") is None
    assert await claims.record(first, frozen, Attempt(status=200), DELIVERED) is None
    assert not await claims.pass_by(first, next_one.work.position)
    await claims.release(first)
    assert await claims.claim(1, 4, {}) == []
    assert await hook.states() == ["pending"]
    again = await claims.look(second)
    assert again is not None
    assert isinstance(again.work, Frozen)
    assert (again.work.delivery_id, again.work.body) == (frozen.delivery_id, b"{}")
    assert await claims.record(second, again.work, Attempt(status=200), DELIVERED) is False
    assert await hook.states() == ["delivered"]


async def test_what_is_under_way_ends_before_a_stop(alice: Person, app: FastAPI, receiver: Receiver) -> None:
    gate = asyncio.Event()

    async def respond(_: Received, write: Write) -> None:
        await gate.wait()
        await write(answer(200))

    receiver.respond = respond
    hook = await new_hook(alice, await alice.new_project(), receiver.url)
    for _ in range(2):
        await alice.new_task(hook.project_id)
    async with sending(app) as sender:
        await until(lambda: receiver.received)
        sender.stop()
        gate.set()
    assert await hook.states() == ["delivered"]


async def test_a_deleted_webhook_ends_what_is_under_way(alice: Person, app: FastAPI, receiver: Receiver) -> None:
    gate = asyncio.Event()

    async def respond(_: Received, write: Write) -> None:
        await gate.wait()
        await write(answer(200))

    receiver.respond = respond
    hook = await new_hook(alice, await alice.new_project(), receiver.url)
    await alice.new_task(hook.project_id)
    async with sending(app) as sender:
        await until(lambda: receiver.received)
        await alice.delete(hook.path)
        gate.set()
        await until(lambda: sender.sending == 0)
    assert sender.counts["delivered"] == 0
