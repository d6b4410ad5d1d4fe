"""The same requests to an application with compiled handlers and to one without, and what they answer differently."""

import re
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import httpx
from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.http.dispatch import RouteTable
from taskmanager.http.front import Front
from taskmanager.main import create_app
from taskmanager.settings import Settings
from tests.conftest import client_for, make_settings
from tests.support.access_world import World
from tests.support.applications import started
from tests.support.credentials import API
from tests.support.rows import digests, fetch_one, fetch_rows, tables
from tests.support.unusual_requests import Pairs, pairs

ALL_ROUTES = sorted(
    (method, endpoint.template)
    for method, endpoint in RouteTable(create_app(make_settings(database_url="postgresql://nowhere/nothing")))
    if method != "HEAD"
)
# What a write makes anew each time, and the times of it.
_OWN_HEADERS = {b"x-process-time", b"server-timing"}
_SECRETS = re.compile(rb'"(access_token|refresh_token|key|prefix|message_id|ticket)":"[^"]+"')
# Random, so that not all streams come back at once.
_RETRY = re.compile(rb"retry: \d+")
_TIMES = re.compile(rb'"\d{4}-\d\d-\d\dT[^"]+Z"')
# Ids start at the next multiple for both ways, behind those of all rows that there are.
_FIRST_IDS = 1_000_000
# The message of a test has a random id.
_SECRET_TABLES = {"users", "sessions", "api_keys", "webhook_deliveries", "stream_tickets"}
_NEW_EACH_TIME = ["created_at", "updated_at", "completed_at", "read_at", "xid", "moved_at", "lease_until", "rotated_at"]
_KEPT_BODY = "regexp_replace(convert_from(t.body, 'UTF8'), '\"([^\"]+Z|msg_[^\"]+)\"', '', 'g')"
Clients: TypeAlias = "tuple[httpx.AsyncClient, httpx.AsyncClient]"
_UNCOMPARED = "not compared"
_LAST_ID = "SELECT COALESCE(max(last_value), 0) AS id FROM pg_sequences"


def compiled_routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Yield method and path of each route that has a compiled handler."""
    layer: Any = app.middleware_stack
    while not isinstance(layer, Front):
        layer = layer.app
    for method, endpoint in layer.table:
        if endpoint in layer.bound:
            yield method, endpoint.template


@dataclass
class Both:
    """An application with compiled handlers and one without, on the same database."""

    clients: Clients
    database: Database
    world: World
    statuses: set[int] = field(default_factory=set)
    differences: list[Any] = field(default_factory=list)
    _effects: str = ""
    _restart: str = ""

    async def compare(self, path: str, headers: Pairs, method: str = "GET") -> None:
        """Ask both the same; what differs is remembered."""
        await self._compare(method, path, headers, None)

    async def compare_write(self, method: str, path: str, headers: Pairs, content: Any = None) -> int:
        """Have both write the same to the same rows, and compare answers and effects; return the status."""
        return await self._compare(method, path, headers, content, writes=True)

    async def _compare(self, method: str, path: str, headers: Pairs, content: Any, *, writes: bool = False) -> int:
        answers, effects = [], []
        for client in self.clients:
            body = _in_chunks(content) if isinstance(content, list) else content
            given = [(b"x-request-id", b"the-same"), *headers]
            answer = await client.request(method, path, headers=given, content=body)
            shown = _body(answer) if writes else _RETRY.sub(b"", answer.content)
            answers.append((answer.status_code, _headers(answer), shown))
            if writes and answer.status_code < 400:
                found = await fetch_rows(self.database, self._effects)
                effects.append({row["name"]: row["effect"] for row in found if row["effect"] != _UNCOMPARED})
                await self._put_back({row["name"] for row in found})
        self.statuses.add(answers[0][0])
        if answers[0] != answers[1] or effects[1:] != effects[:1] * (len(effects) - 1):
            self.differences.append((method, path, [(name, value[:30]) for name, value in headers], content))
            self.differences += [part for part in zip(*answers, strict=True) if part[0] != part[1]] or [effects]
        return answers[0][0]

    async def restore(self) -> None:
        """Put back all rows of the world, and let new ids begin where they did."""
        if not self._restart:
            first_id = ((await fetch_one(self.database, _LAST_ID))["id"] // _FIRST_IDS + 1) * _FIRST_IDS
            self._restart = f"SELECT setval(CAST(seqrelid AS regclass), {first_id}) FROM pg_sequence"
        await self._put_back(None)
        self._effects = self._effects or await _effects_query(self.database)

    async def _put_back(self, changed: Collection[str] | None) -> None:
        await self.world.snapshot.restore(self.database, changed=changed, then=self._restart)

    def path(self, template: str, values: Mapping[str, Any] | None = None) -> str:
        """Return a route's path to what the owner may see."""
        return template.format_map({**self.ids, **(values or {})})

    @property
    def ids(self) -> dict[str, Any]:
        """What stands for the names in paths and bodies."""
        own = self.world.own_ids["owner"]
        secrets = {"refresh": self.world.spare_logins["owner"].refresh, "caller": "owner", "newcomer": "stranger"}
        return {**self.world.ids, **own, **secrets, "name": "favicon.svg"}

    @property
    def owner(self) -> Pairs:
        """The owner's login."""
        return pairs(self.world.logins["owner"].headers)

    def entitled(self, template: str) -> tuple[str, Pairs]:
        """Return who may use a route, and their credential: an administrator's key, or the owner's login."""
        if template.startswith(f"{API}/admin"):
            return "administrator", pairs(self.world.keys["admin key"].in_header)
        return "owner", self.owner


@asynccontextmanager
async def compared(both: Both) -> AsyncIterator[Both]:
    """Yield it without what was found before; whatever both answer differently in the block is an error."""
    for client in both.clients:
        client.event_hooks = {}  # a body that is too long is no documented answer of a GET
    before = await digests(both.database)
    yield both
    assert both.differences == [], both.differences
    assert await digests(both.database) == before, "a request that was refused had an effect"


@asynccontextmanager
async def both_started(settings: Settings, **changes: Any) -> AsyncIterator[Clients]:
    """Yield clients of two applications with changed settings, the second without compiled handlers."""
    apps = [create_app(settings.model_copy(update={**changes, "share_statements": on})) for on in (True, False)]
    async with started(apps[0]) as compiled, started(apps[1]) as ordinary:
        yield compiled, ordinary


def make_both(app: FastAPI, ordinary: httpx.AsyncClient, world: World) -> Both:
    """Return both applications, on the database of the first."""
    return Both((client_for(app), ordinary), app.state.database, world)


def _headers(answer: httpx.Response) -> list[tuple[bytes, bytes]]:
    return sorted((name.lower(), value) for name, value in answer.headers.raw if name.lower() not in _OWN_HEADERS)


def _body(answer: httpx.Response) -> bytes:
    return _TIMES.sub(b'"a time"', _SECRETS.sub(rb'"\1":"a secret"', answer.content))


async def _in_chunks(parts: list[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def _effects_query(database: Database) -> str:
    """Return a query for the tables that do not hold what they hold now, with a digest that leaves out what is new.

    A table whose rows are secrets or do not last has no digest.
    """
    found = await tables(database)
    sum_of = "(SELECT COALESCE(sum(hashtextextended(t::text, 0)), 0) FROM {} t)"
    sums = " UNION ALL ".join(f"SELECT '{name}' AS name, {sum_of.format(name)} AS sum" for name in found.all)
    parts = []
    for row in await fetch_rows(database, sums):
        name = row["name"]
        # A kept answer is bytes, which have the times of what was made in them.
        answers = name == "idempotency_keys"
        new = [*_NEW_EACH_TIME, *(["body"] if answers else [])]
        content = f"(to_jsonb(t) - CAST(ARRAY{new} AS text[]))::text"
        if answers:
            content = f"({content} || {_KEPT_BODY})"
        is_compared = name in found.lasting and name not in _SECRET_TABLES
        digest = (
            f"(SELECT md5(string_agg({content}, ',' ORDER BY {content})) FROM {name} t)"
            if is_compared
            else f"'{_UNCOMPARED}'"
        )
        parts.append(f"SELECT '{name}' AS name, {digest} AS effect WHERE {sum_of.format(name)} <> {row['sum']}")
    return " UNION ALL ".join(parts)
