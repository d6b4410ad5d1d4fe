"""Where a request comes from: the peer of the connection, or what trusted proxies say of it.

The sender of a request may write `X-Forwarded-For`, and each proxy appends the address that it saw. So it is read
from the right, and only as far as trusted proxies wrote it. uvicorn's own reading of it is switched off.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

UNIX = "unix"
_REMEMBERED = 4_096
_LONGEST = 64
_IPV6_SITE_BITS = 64


class ClientAddresses:
    """Finds the address of a request's client; `trusted` are addresses, networks and the word `unix`."""

    def __init__(self, trusted: Iterable[str]) -> None:
        names = set(trusted)
        self._trusts_unix = UNIX in names
        networks = [ip_network(name, strict=False) for name in names - {UNIX}]

        @lru_cache(_REMEMBERED)
        def trusts(address: str) -> bool:
            return any(ip_address(address) in network for network in networks)

        self._trusts = trusts

    def find(self, scope: Mapping[str, Any]) -> str | None:
        """Return the client's address; None for a Unix socket if no trusted proxy names the client.

        `scope` is that of an ASGI request. An IPv4 address inside an IPv6 one comes out as IPv4. An
        entry that is no address ends the list: then the proxy's own address counts.
        """
        address = _peer(scope)
        for hop in _forwarded_for(scope) if self._trusts_peer(scope, address) else ():
            known = _read(hop)
            if known is None:
                break
            address = known
            if not self._trusts(address):
                break
        return address

    def comes_from_proxy(self, scope: Mapping[str, Any]) -> bool:
        """Return whether a request comes from a trusted proxy, which then answers for what its headers say."""
        return self._trusts_peer(scope, _peer(scope))

    def _trusts_peer(self, scope: Mapping[str, Any], address: str | None) -> bool:
        if address is None:
            return self._trusts_unix and scope.get("client") is None
        return self._trusts(address)


@lru_cache(_REMEMBERED)
def rate_limit_subject(address: str | None) -> str:
    """Return what counts as one client: an IPv4 address, the /64 network of an IPv6 one, `unix` without any."""
    if address is None:
        return UNIX
    if ":" not in address:
        return address
    return str(ip_network((address, _IPV6_SITE_BITS), strict=False))


def _peer(scope: Mapping[str, Any]) -> str | None:
    peer = scope.get("client")
    # A load balancer's event reaches Lambda with the whole list for a peer; its last entry is the true one.
    return None if peer is None else _read(peer[0].rpartition(",")[2])


def _forwarded_for(scope: Mapping[str, Any]) -> Iterator[str]:
    lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    for line in reversed(lines):
        yield from reversed(line.decode("latin-1").split(","))


def _read(text: str) -> str | None:
    return _canonical(text) if len(text) <= _LONGEST else None


@lru_cache(_REMEMBERED)
def _canonical(text: str) -> str | None:
    text = text.strip()
    # Some proxies append the port: 192.0.2.1:4711, [2001:db8::1]:4711.
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])  # behind it, the name of an interface
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)
