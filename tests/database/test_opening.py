"""A connection that is cancelled while it is being made ready is not left open."""

import asyncio
from typing import Any

import pytest

from taskmanager.database import opening
from taskmanager.database.database import Database
from taskmanager.database.poolers import DriverConnection
from taskmanager.database.pools import Pool
from tests.support.coalescers import until


async def test_one_whose_caller_is_cancelled_goes_to_the_pool(
    own_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    set_type_codec = DriverConnection.set_type_codec
    made = list[DriverConnection]()

    async def set_slowly(self: DriverConnection, *arguments: Any, **options: Any) -> None:
        if self not in made:
            made.append(self)
        begun.set()
        await go_on.wait()
        await set_type_codec(self, *arguments, **options)

    monkeypatch.setattr(DriverConnection, "set_type_codec", set_slowly)
    connecting = asyncio.create_task(own_database.connect(Pool.SHARED))
    await begun.wait()
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    go_on.set()
    await until(lambda: not opening._background)
    connection = await own_database.connect(Pool.SHARED)
    assert [row["one"] for row in await connection.fetch("SELECT 1 AS one")] == [1]
    # It is the one that was cancelled, so none is left behind.
    assert len(made) == 1
    await connection.close()
    await own_database.dispose()
    assert made[0].is_closed()


async def test_one_that_fails_after_its_caller_was_cancelled_is_nobody_s_trouble(
    own_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def fail_slowly(self: DriverConnection, *arguments: Any, **options: Any) -> None:
        begun.set()
        await go_on.wait()
        self.terminate()
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr(DriverConnection, "set_type_codec", fail_slowly)
        connecting = asyncio.create_task(own_database.connect(Pool.SHARED))
        await begun.wait()
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        go_on.set()
        await until(lambda: not opening._background)
    connection = await own_database.connect(Pool.SHARED)
    assert len(await connection.fetch("SELECT 1 AS one")) == 1
    await connection.close()
