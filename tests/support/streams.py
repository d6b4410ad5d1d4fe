"""Clients of the live stream, inside the process and on a socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
from fastapi import FastAPI

from taskmanager.stream.broker import Broker
from tests.conftest import Person
from tests.support.credentials import API

PATIENCE_SECONDS = 10.0


@dataclass(frozen=True)
class Frame:
    """One block of a stream, by its fields; a block that only moves on has an id alone."""

    event: str = ""
    id: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    retry: int = 0

    @property
    def is_event(self) -> bool:
        """Whether it is a change of something, and not of the stream."""
        return "." in self.event


def read_block(block: str) -> Frame:
    """Return a block as a frame, by the rules for event streams."""
    values: dict[str, str] = {}
    for line in block.split("\n"):
        name, _, value = line.partition(":")
        assert name not in values, "each field comes once"
        values[name] = value.removeprefix(" ")
    data = json.loads(values["data"]) if "data" in values else {}
    return Frame(values.get("event", ""), values.get("id", ""), data, int(values.get("retry", 0)))


class Listener:
    """What a client has heard, and the next frames; `last_id` is that behind which it would go on."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.last_id = ""
        self.is_over = asyncio.Event()
        self._rest = b""
        self._arrived = asyncio.Event()
        self._read = 0

    def feed(self, data: bytes) -> None:
        """Take what has come."""
        # A character may come in two parts.
        *blocks, self._rest = (self._rest + data).split(b"\n\n")
        for block in blocks:
            frame = read_block(block.decode())
            self.last_id = frame.id or self.last_id
            self.frames.append(frame)
        self._arrived.set()

    def finish(self) -> None:
        """Note the end."""
        self.is_over.set()
        self._arrived.set()

    async def until(self, wanted: Callable[[Frame], bool], seconds: float = PATIENCE_SECONDS) -> Frame:
        """Return the next frame of a kind, past all others."""
        async with asyncio.timeout(seconds):
            while True:
                while self._read < len(self.frames):
                    self._read += 1
                    if wanted(self.frames[self._read - 1]):
                        return self.frames[self._read - 1]
                assert not self.is_over.is_set(), f"the stream has ended behind {self.frames[-3:]}"
                self._arrived.clear()
                await self._arrived.wait()

    async def named(self, name: str, seconds: float = PATIENCE_SECONDS) -> Frame:
        """Return the next frame of that name."""
        return await self.until(lambda frame: frame.event == name, seconds)

    async def next_event(self, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Return the data of the next event."""
        return (await self.until(lambda frame: frame.is_event, seconds)).data

    async def titles(self, count: int) -> list[str]:
        """Return the titles that the next events of tasks give them.

        Events of other entities are passed over: while the server has an older transaction, what the test made before
        may come late.
        """
        found = [
            await self.until(lambda frame: frame.is_event and frame.data["entity"] == "task") for _ in range(count)
        ]
        return [frame.data["changes"]["title"]["new"] for frame in found]

    async def all_titles(self, count: int) -> list[str]:
        """Return the titles that all events give to tasks, before and behind `ready`, once there are so many.

        What was committed just before may come behind it, where the server has an older transaction.
        """
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.events) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return [event["changes"]["title"]["new"] for event in self.events]

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events so far."""
        return [frame.data for frame in self.frames if frame.is_event]


class InProcess(Listener):
    """A stream of an application in this process."""

    def __init__(self, app: FastAPI, path: str, headers: Mapping[str, str], method: str = "GET") -> None:
        super().__init__()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        # A client that does not read: `reads` is cleared.
        self.reads = asyncio.Event()
        self.reads.set()
        self._started = asyncio.Event()
        self._gone = asyncio.Event()
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("test", 80),
        }
        self._task = asyncio.create_task(app(scope, self._receive, self._send))
        self._asked = False

    async def _receive(self) -> Any:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.reads.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            return
        self.body += message.get("body", b"")
        if self.status == 200:
            self.feed(message.get("body", b""))
        self._started.set()
        if not message.get("more_body", False):
            self.finish()

    async def begun(self) -> "InProcess":
        """Return when the answer has begun."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._started.wait()
        return self

    async def close(self) -> None:
        """Go away."""
        self._gone.set()
        self.reads.set()
        await asyncio.wait_for(self._task, PATIENCE_SECONDS)


def address(**query: Any) -> str:
    """Return the path of the stream with a query."""
    return f"{API}/events" + (f"?{urlencode(query, doseq=True)}" if query else "")


@asynccontextmanager
async def listening(
    app: FastAPI, person: Person | None, *, headers: Mapping[str, str] | None = None, ready: bool = True, **query: Any
) -> AsyncIterator[InProcess]:
    """Yield a stream of a person's, once it is ready."""
    own = {} if person is None else {"Authorization": f"Bearer {person.token}"}
    client = InProcess(app, address(**query), {**own, **(headers or {})})
    try:
        await client.begun()
        if ready:
            assert client.status == 200, client.body
            await client.named("ready")
        yield client
    finally:
        await client.close()


class OnSocket(Listener):
    """A stream of a server that is a process of its own."""

    @asynccontextmanager
    async def open(self, url: str, headers: Mapping[str, str], **query: Any) -> AsyncIterator["OnSocket"]:
        """Listen for the block, going on behind `last_id`."""
        given = {**headers, **({"Last-Event-ID": self.last_id} if self.last_id else {})}
        self.is_over.clear()
        timeout = httpx.Timeout(PATIENCE_SECONDS, read=60)
        async with (
            httpx.AsyncClient(verify=False, timeout=timeout) as client,
            client.stream("GET", url + address(**query), headers=given) as answer,
        ):
            assert answer.status_code == 200, (answer.status_code, await answer.aread())

            async def read() -> None:
                try:
                    async for data in answer.aiter_raw():
                        self.feed(data)
                except httpx.TransportError:
                    pass
                finally:
                    self._rest = b""
                    self.finish()

            reading = asyncio.create_task(read())
            try:
                yield self
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


def broker_of(app: FastAPI) -> Broker:
    """Return the broker of an application."""
    broker: Broker = app.state.tailer.audience
    return broker
