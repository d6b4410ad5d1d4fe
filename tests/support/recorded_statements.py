"""The statements that an application sends."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg
import pytest

from taskmanager.database.database import Database, SharedConnection
from taskmanager.tasks import search_index

_OF_THE_BACKGROUND = {search_index._FULL_LIST.lone, search_index._MERGE.lone}


@contextmanager
def recorded_statements(database: Database) -> Iterator[list[str]]:
    """Yield the statements that are sent meanwhile, in their order."""
    statements: list[str] = []
    fetch = SharedConnection.fetch

    async def record_and_fetch(connection: SharedConnection, sql: str, *arguments: Any) -> Sequence[asyncpg.Record]:
        if connection._meter is database.meter and sql not in _OF_THE_BACKGROUND:
            statements.append(sql)
        return await fetch(connection, sql, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SharedConnection, "fetch", record_and_fetch)
        yield statements
