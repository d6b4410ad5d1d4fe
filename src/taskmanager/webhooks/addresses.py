"""Which IP addresses a webhook may be sent to: those of the public internet, and those that the settings allow.

The list is our own: what `ipaddress` calls global differs between versions of Python (3.11.7 has `64:ff9b::7f00:1`,
`2002:7f00:1::`, `::127.0.0.1`, `fec0::1` and `224.0.0.1` in it). It follows IANA's registries of special-purpose
addresses.
"""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_FORBIDDEN: Final[Sequence[Network]] = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
        # Of 2000::/3, outside of which nothing is public.
        "2001::/23",
        "2001:db8::/32",
        "3fff::/20",
    )
)
_PUBLIC_IPV6: Final = IPv6Network("2000::/3")
# Addresses that hold an IPv4 address, which is where a packet may end.
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_TRANSLATED: Final = IPv6Network("::ffff:0:0:0/96")
_COMPATIBLE: Final = IPv6Network("::/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_6TO4: Final = IPv6Network("2002::/16")
_TEREDO: Final = IPv6Network("2001::/32")


def is_allowed(address: str, allowed: Sequence[Network] = ()) -> bool:
    """Return whether a webhook may be sent to an address, or an address that it holds; `allowed` are more networks."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    return all(_is_in(one, allowed) or _is_public(one) for one in _destinations(found))


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and (address not in _PUBLIC_IPV6 or address.scope_id is not None):
        return False
    return not _is_in(address, _FORBIDDEN)


def _destinations(address: Address) -> Iterator[Address]:
    """Yield the addresses that a packet to this one may reach."""
    if isinstance(address, IPv4Address):
        yield address
        return
    number = int(address)
    if _is_in(address, (_MAPPED, _TRANSLATED, _NAT64)) or (address in _COMPATIBLE and number > 1):
        yield IPv4Address(number & 0xFFFFFFFF)
    elif address in _6TO4:
        yield IPv4Address(number >> 80 & 0xFFFFFFFF)
    elif address in _TEREDO:
        yield IPv4Address(number >> 64 & 0xFFFFFFFF)
        yield IPv4Address(~number & 0xFFFFFFFF)
    else:
        yield address
