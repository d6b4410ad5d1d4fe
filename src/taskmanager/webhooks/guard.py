"""Decides where a webhook may go: resolves the name of its host, and checks every address that it has.

A sender connects to one of the addresses that were checked, so a name that leads elsewhere a moment later changes
nothing.
"""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Final

from taskmanager.settings import Settings
from taskmanager.webhooks.addresses import is_allowed
from taskmanager.webhooks.targets import Target, UnacceptableTargetError, read_target

RESOLVE_SECONDS: Final = 3.0
# As many as there are attempts at once: a look-up that hangs holds its thread until the system's resolver gives up,
# after some 10 s.
_THREADS: Final = 32
THREADS_OF_REQUESTS: Final = 4

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


class UnresolvedTargetError(OSError):
    """The name of the host has no address now."""


class ForbiddenAddressError(UnacceptableTargetError):
    """The host has an address that no webhook may be sent to."""


class ResolverBusyError(Exception):
    """All threads hang in look-ups, so that nothing can be said of this host."""


class Resolver:
    """Resolves names by the system's resolver, in threads of its own; nobody waits until one of them is free."""

    def __init__(self, threads: int = _THREADS) -> None:
        self._free = threading.Semaphore(threads)
        self._most = threads

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._most, thread_name_prefix="webhook-names")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a host, the preferred one first.

        Raises:
            OSError: It has none.
            ResolverBusyError: No thread is free.
        """
        if not self._free.acquire(blocking=False):
            raise ResolverBusyError
        looking = self._threads.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        # When its thread is free again, which may be long after nobody waits for it any more.
        looking.add_done_callback(lambda _: self._free.release())
        found = await asyncio.wrap_future(looking)
        return list(dict.fromkeys(str(address[0]) for *_, address in found))


class TargetGuard:
    """Says where a webhook may be sent by the settings of the service."""

    def __init__(self, settings: Settings, resolve: Resolve | None = None) -> None:
        self._hosts = frozenset(settings.webhook_allowed_hosts)
        self._networks = settings.webhook_networks
        self.resolve: Resolve = resolve or Resolver()

    def read(self, url: str) -> Target:
        """Return where a URL leads.

        Raises:
            UnacceptableTargetError: It is no URL for a webhook here.
        """
        return read_target(url, self._hosts)

    async def addresses(self, target: Target) -> Sequence[str]:
        """Return the addresses of a target, all of which have been checked.

        Raises:
            ForbiddenAddressError: One of them is not on the public internet, nor in a network that is allowed.
            UnresolvedTargetError: There is none.
            ResolverBusyError: That cannot be found out now.
        """
        try:
            async with asyncio.timeout(RESOLVE_SECONDS):
                found = await self.resolve(target.host, target.port)
        except (OSError, UnicodeError):
            found = []
        if not found:
            raise UnresolvedTargetError("the name of the host cannot be resolved")
        if not all(is_allowed(address, self._networks) for address in found):
            raise ForbiddenAddressError("leads to an address that is not on the public internet")
        return found

    async def check(self, url: str) -> None:
        """Check a URL that somebody wants to be called; that its host has no address yet is no fault.

        Each attempt checks the addresses of then.

        Raises:
            UnacceptableTargetError: No webhook may be sent there.
        """
        try:
            await self.addresses(self.read(url))
        except (UnresolvedTargetError, ResolverBusyError):
            return
