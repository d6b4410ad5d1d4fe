"""The receiver in docs/webhooks.md verifies what is sent, as it stands there."""

import re
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from tests.conftest import Person
from tests.support.webhook_receivers import Received, Receiver, Write, answer, until
from tests.support.webhooks import new_hook, sending

_PAGE = Path(__file__).parents[2] / "docs" / "webhooks.md"


class Ids:
    """What was seen."""

    def __init__(self) -> None:
        self._ids: set[str] = set()

    def add(self, one: str) -> bool:
        """Note an id, and return whether it is new."""
        is_new = one not in self._ids
        self._ids.add(one)
        return is_new


class Work(list[Any]):
    """What is to be done."""

    put = list.append


async def test_the_receiver_takes_each_message_once_and_refuses_others(
    alice: Person, app: FastAPI, receiver: Receiver
) -> None:
    code = re.search(r"```python\n(.*?)```", _PAGE.read_text(), re.DOTALL)
    assert code is not None
    names: dict[str, Any] = {}
    exec(code[1], names)
    hook = await new_hook(alice, await alice.new_project(), receiver.url)
    seen, work, statuses = Ids(), Work(), []

    async def respond(request: Received, write: Write) -> None:
        first = names["receive"](request.headers, request.body, hook.secret, seen, work)
        again = names["receive"](request.headers, request.body, hook.secret, seen, work)
        changed = names["receive"](request.headers, request.body + b" ", hook.secret, seen, work)
        statuses.append((first, again, changed))
        await write(answer(first))

    receiver.respond = respond
    async with sending(app):
        await alice.new_task(hook.project_id, title="Mow")
        await until(hook.is_at_rest)
    assert statuses == [(204, 204, 401)]
    assert [(message["type"], message["data"]["task"]["title"]) for message in work] == [("task.created", "Mow")]


def test_the_page_names_the_times_that_hold() -> None:
    from taskmanager.webhooks import retention, schedule
    from taskmanager.webhooks.statements import MOST_OF_PROJECT

    page = _PAGE.read_text()
    assert "after 5 s, 30 s and 2 min" in page
    assert "5 min, 15 min, 1 h, 3 h, 6 h, 12 h, and each 24 h" in page
    assert schedule.IN_PLACE_SECONDS == (5, 30, 120)
    assert [seconds / 60 for seconds in schedule.PARKED_SECONDS] == [5, 15, 60, 180, 360, 720, 1440]
    assert (retention.BODY_DAYS, retention.DELIVERY_DAYS, retention.MOST_DELIVERIES) == (7, 30, 10_000)
    assert f"{MOST_OF_PROJECT} at most" in page
