"""The statements that an application sends."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg
import pytest

from taskmanager.database.database import Database, SharedConnection
from taskmanager.tasks import search_index

_OF_THE_BACKGROUND = {search_index._FULL_LIST.lone, search_index._MERGE.lone}


@contextmanager
def recorded_statements(database: Database) -> Iterator[list[str]]:
    """Yield the statements that are sent meanwhile, in their order; one for each batch."""
    statements: list[str] = []

    def recording(name: str) -> Callable[..., Awaitable[Sequence[asyncpg.Record]]]:
        send = getattr(SharedConnection, name)

        async def record_and_send(connection: SharedConnection, sql: str, *arguments: Any) -> Sequence[asyncpg.Record]:
            if connection._meter is database.meter and sql not in _OF_THE_BACKGROUND:
                statements.append(sql)
            found: Sequence[asyncpg.Record] = await send(connection, sql, *arguments)
            return found

        return record_and_send

    with pytest.MonkeyPatch.context() as patch:
        for name in ("fetch", "fetch_each"):
            patch.setattr(SharedConnection, name, recording(name))
        yield statements
