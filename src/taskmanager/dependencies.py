"""What handlers of every feature ask for, as annotated aliases."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request

from taskmanager.database import Database, ReadSession, WriteSession
from taskmanager.settings import Settings


async def get_settings(request: Request) -> Settings:
    """Return the application's settings."""
    settings: Settings = request.app.state.settings
    return settings


async def get_database(request: Request) -> Database:
    """Return the application's database."""
    database: Database = request.app.state.database
    return database


AppSettings = Annotated[Settings, Depends(get_settings)]
AppDatabase = Annotated[Database, Depends(get_database)]


async def open_transaction(database: AppDatabase) -> AsyncIterator[WriteSession]:
    """Yield the request's transaction; it is committed before the first byte of the answer."""
    async with database.transaction() as session:
        yield session


async def open_reader(database: AppDatabase) -> AsyncIterator[ReadSession]:
    """Yield the request's session for reads; its connection is back in the pool before the answer."""
    async with database.reader() as session:
        yield session


# Function scope ends the block before the response is sent. With the default scope the client
# would have its 201 before COMMIT ran, and a failed commit would never be told.
Transaction = Annotated[WriteSession, Depends(open_transaction, scope="function")]
Reader = Annotated[ReadSession, Depends(open_reader, scope="function")]
