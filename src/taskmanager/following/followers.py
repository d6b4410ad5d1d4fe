"""Those who follow the event log in this process, and the news for which some of them wait."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

from taskmanager.errors import OverloadedError, RateLimitedError

_RETRY_AFTER_SECONDS: Final = 5


class News(NamedTuple):
    """What wakes followers: a project, and the user whose membership has changed, if that is what happened."""

    project_id: int
    member_id: int | None


class Follower:
    """One who waits; `is_ended` says that it is to wait no longer."""

    def __init__(self) -> None:
        self.is_ended = False
        # What happens before it is known what to wait for.
        self.missed: set[News] | None = set()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """End the wait."""
        self._woken.set()

    async def wait(self, seconds: float) -> None:
        """Return when there is news, or after some seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        self._woken.clear()


class Followers:
    """Wakes followers by the projects that they see and by their own memberships; `limit` may wait at the same time.

    Of each user `limit_per_user` may wait. `wanted` is set while there are any.
    """

    def __init__(self, limit: int, limit_per_user: int) -> None:
        self.limit = limit
        self.limit_per_user = limit_per_user
        self.wanted = asyncio.Event()
        self.is_closed = False
        self._all = set[Follower]()
        self._of_user = Counter[int]()
        self._held = 0
        self._of_project = defaultdict[int, set[Follower]](set)
        self._of_member = defaultdict[int, set[Follower]](set)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._all) + self._held

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Count one more for the block, who gets the events themselves.

        Raises:
            OverloadedError: There are as many as may be.
        """
        if len(self) >= self.limit:
            raise OverloadedError("streams")
        self._held += 1
        self.wanted.set()
        try:
            yield
        finally:
            self._held -= 1
            self._note_leaving()

    @contextmanager
    def follow(self, user_id: int) -> Iterator[Follower]:
        """Yield a follower for the block, whom all news reaches until it `watch`es something.

        Raises:
            OverloadedError: As many wait as may.
            RateLimitedError: As many of the user wait as may.
        """
        if len(self) >= self.limit:
            raise OverloadedError("streams")
        if self._of_user[user_id] >= self.limit_per_user:
            raise RateLimitedError("waiting requests", _RETRY_AFTER_SECONDS)
        self._of_user[user_id] += 1
        follower = Follower()
        follower.is_ended = self.is_closed
        self._all.add(follower)
        self.wanted.set()
        try:
            yield follower
        finally:
            self._all.discard(follower)
            self._of_user[user_id] -= 1
            if not self._of_user[user_id]:
                del self._of_user[user_id]
            self._note_leaving()

    @contextmanager
    def watch(self, follower: Follower, project_ids: Iterable[int], user_id: int) -> Iterator[None]:
        """During the block, wake a follower for these projects and for this user's memberships alone.

        It is woken immediately for what it has missed.
        """
        projects = set(project_ids)
        places = [(self._of_project, project_id) for project_id in projects] + [(self._of_member, user_id)]
        for place, key in places:
            place[key].add(follower)
        missed, follower.missed = follower.missed or (), None
        if any(news.project_id in projects or news.member_id == user_id for news in missed):
            follower.wake()
        try:
            yield
        finally:
            follower.missed = set()
            for place, key in places:
                place[key].discard(follower)
                if not place[key]:
                    del place[key]

    def _note_leaving(self) -> None:
        if not len(self):
            self.wanted.clear()

    def publish(self, happened: Iterable[News]) -> None:
        """Wake those whom this concerns."""
        unplaced = [follower.missed for follower in self._all if follower.missed is not None]
        for news in happened:
            for missed in unplaced:
                missed.add(news)
            for follower in self._of_project.get(news.project_id, ()):
                follower.wake()
            if news.member_id is not None:
                for follower in self._of_member.get(news.member_id, ()):
                    follower.wake()

    def wake_all(self) -> None:
        """Have everybody look for themselves."""
        for follower in self._all:
            follower.wake()

    def close(self, *_: Any) -> None:
        """End all waits, present and later ones, because the process stops."""
        self.is_closed = True
        for follower in self._all:
            follower.is_ended = True
            follower.wake()
