"""The client's loop in docs/sync.md keeps a copy, as it stands there."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import Person
from tests.support.live_server import LiveServer
from tests.support.mirrors import Mirror, read_everything

_PAGE = Path(__file__).parents[2] / "docs/sync.md"


class EnoughError(Exception):
    """The test has seen what it wants to see."""


class Copy:
    """A client's database, as small as can be; it ends the loop after a page that has nothing."""

    def __init__(self, person: Person) -> None:
        self.mirror = Mirror(person)
        self.cleared = 0
        self._changed = True

    def cursor(self) -> str | None:
        """Return the stored cursor."""
        return self.mirror.cursor

    def set_cursor(self, cursor: str) -> None:
        """Store the cursor."""
        self.mirror.cursor = cursor

    def clear(self) -> None:
        """Forget everything."""
        self.cleared += 1
        self.mirror.rows, self.mirror.cursor = {}, None

    def put(self, item: dict[str, Any]) -> None:
        """Store a row."""
        self._changed = True
        self.mirror.put(item)

    def delete(self, item: dict[str, Any]) -> None:
        """Forget a row and what belongs to it."""
        self._changed = True
        self.mirror.forget(item)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Store what the block does together."""
        self._changed = False
        yield
        if not self._changed:
            raise EnoughError


async def keep_copy(server: LiveServer, copy: Copy) -> None:
    """Run the loop of the page until nothing is new, with hardly any wait."""
    (code,) = re.findall(r"```python\n(.*?)```", _PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code.replace('"wait": 30', '"wait": 0'), names)  # that is the test
    headers = {"Authorization": f"Bearer {copy.mirror.person.token}"}
    # Without TLS, no certificates need to be loaded.
    with httpx.Client(base_url=server.url, headers=headers, verify=False) as http, suppress(EnoughError):
        await asyncio.to_thread(names["keep_copy"], http, copy)


async def test_the_loop(alice: Person, live_server: LiveServer) -> None:
    task = await alice.new_task(title="Dig")
    await alice.post(f"/tasks/{task['id']}/comments", {"body": "Where?"})
    copy = Copy(alice)
    await keep_copy(live_server, copy)
    assert copy.mirror.rows == await read_everything(alice)
    await alice.delete(f"/tasks/{task['id']}")
    await keep_copy(live_server, copy)
    assert copy.mirror.rows == await read_everything(alice)
    copy.set_cursor("bent")
    await keep_copy(live_server, copy)
    assert copy.cleared == 1
    assert copy.mirror.rows == await read_everything(alice)
