"""What the route of changes asks for."""

import asyncio
import time
from typing import Annotated

from fastapi import Depends, Request, Security

from taskmanager.accounts.callers import Caller
from taskmanager.accounts.dependencies import authenticate
from taskmanager.accounts.scopes import Scope
from taskmanager.changes.repository import Changes, ChangesReader, Filters
from taskmanager.database.reads import Reads
from taskmanager.errors import InvalidValueError
from taskmanager.following.followers import Follower, Followers
from taskmanager.following.tailer import Tailer
from taskmanager.telemetry.request_context import leave_requests_in_flight, until_client_is_gone


class ChangesFeed:
    """Answers those who ask for changes, and lets those wait for whom there is none."""

    def __init__(self, reader: ChangesReader, followers: Followers, tailer: Tailer) -> None:
        self._reader = reader
        self._followers = followers
        self._tailer = tailer

    async def page(
        self, reads: Reads, since: str | None, limit: int, filters: Filters, *, wait_seconds: float
    ) -> Changes:
        """Return the next page; if it is empty, after a change or some seconds.

        Raises:
            InvalidValueError: A filter names something that nobody can follow.
            InvalidCursorError: The cursor was bent, or belongs to another user or other filters.
            CursorExpiredError: It belongs to another epoch, what followed is not kept, or it has not happened here.
            OverloadedError: As many wait as may.
            RateLimitedError: As many requests of the user wait as may.
        """
        if not set(filters.entities) <= set(self._reader.entities):
            raise InvalidValueError(("query", "entity"), f"must be of {', '.join(self._reader.entities)}", "enum")
        found = await self._reader.page(reads, since, limit, filters)
        if found.items or found.has_more or not wait_seconds or self._followers.is_closed:
            return found
        with self._followers.follow(filters.user_id) as follower:
            leave_requests_in_flight()
            watching = asyncio.create_task(_end_without_client(follower))
            try:
                return await self._wait(reads, found, limit, filters, follower, time.monotonic() + wait_seconds)
            finally:
                watching.cancel()

    async def _wait(
        self, reads: Reads, found: Changes, limit: int, filters: Filters, follower: Follower, deadline: float
    ) -> Changes:
        await self._tailer.follow()
        while True:
            # Read only now that nothing is missed any more.
            found = await self._reader.page(reads, found.cursor, limit, filters)
            left = deadline - time.monotonic()
            if found.items or found.has_more or left <= 0 or follower.is_ended:
                return found
            with self._followers.watch(follower, found.visible, filters.user_id):
                await follower.wait(left)


async def _end_without_client(follower: Follower) -> None:
    await until_client_is_gone()
    follower.is_ended = True
    follower.wake()


async def get_changes_feed(request: Request) -> ChangesFeed:
    """Return the application's feed of changes."""
    feed: ChangesFeed = request.app.state.changes_feed
    return feed


Feed = Annotated[ChangesFeed, Depends(get_changes_feed)]
EverythingReader = Annotated[Caller, Security(authenticate, scopes=[Scope.TASKS_READ.value, Scope.PROJECTS_READ.value])]
