"""Where a request comes from: only trusted proxies are believed, and nothing that a client sends makes it another."""

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from taskmanager.http.client_addresses import ClientAddresses, rate_limit_subject
from tests.conftest import make_settings

PROXIES = ("10.0.0.0/8", "192.0.2.7", "2001:db8:ff::/48", "unix")


def scope(peer: str | None, *lines: str) -> dict[str, Any]:
    """Return what matters of a request's scope."""
    headers = [(b"host", b"example.com"), *((b"x-forwarded-for", line.encode("latin-1")) for line in lines)]
    return {"client": (peer, 4711) if peer is not None else None, "headers": headers}


@pytest.mark.parametrize(
    ("peer", "lines", "address"),
    [
        # Nobody in front, or nobody who is trusted: what was sent does not count.
        ("203.0.113.5", [], "203.0.113.5"),
        ("203.0.113.5", ["198.51.100.1"], "203.0.113.5"),
        ("192.0.2.8", ["198.51.100.1"], "192.0.2.8"),
        ("::ffff:203.0.113.5", ["198.51.100.1"], "203.0.113.5"),
        # A trusted one in front: the last one that is not trusted counts, whatever stands to its left.
        ("192.0.2.7", ["198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["1.1.1.1,198.51.100.1, 10.9.9.9,192.0.2.7"], "198.51.100.1"),
        ("10.1.2.3", ["1.1.1.1, 10.0.0.1, 198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["1.1.1.1", "198.51.100.1", "10.0.0.2"], "198.51.100.1"),
        ("::ffff:10.1.2.3", ["198.51.100.1"], "198.51.100.1"),
        ("2001:db8:ff::1", ["2001:db8:1::5"], "2001:db8:1::5"),
        ("10.1.2.3", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("10.1.2.3", ["::ffff:10.0.0.1, ::ffff:c633:6401"], "198.51.100.1"),
        # Only trusted ones: the first of them.
        ("10.1.2.3", [], "10.1.2.3"),
        ("10.1.2.3", ["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
        # With ports, and with the name of an interface.
        ("10.1.2.3", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.1.2.3", ["[2001:db8:1::5]:4711"], "2001:db8:1::5"),
        ("10.1.2.3", ["[2001:db8:1::5]"], "2001:db8:1::5"),
        ("fe80::1%eth0", [], "fe80::1"),
        # What is no address changes nothing: not to the left of it either.
        *(
            ("10.1.2.3", [f"198.51.100.1, {garbage}"], "10.1.2.3")
            for garbage in (
                *("", "unknown", "_hidden", "localhost", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4/8"),
                *("0x7f.1", "2130706433", "\xb9.1.1.1", "1.1.1.1\x00", '"1.1.1.1"', "::1::", "x" * 10_000, "[", "[]"),
            )
        ),
        ("10.1.2.3", ["198.51.100.1, unknown, 10.0.0.5"], "10.0.0.5"),
        # Over a Unix socket, from a proxy of the same machine.
        (None, ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        (None, ["198.51.100.1, 10.0.0.1"], "198.51.100.1"),
        (None, [], None),
        (None, ["unknown"], None),
        # What a load balancer's event has for a peer: all that the client sent, then what the balancer saw.
        ("1.1.1.1, 198.51.100.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        ("1.1.1.1, 198.51.100.1, 10.0.0.1", ["1.1.1.1, 198.51.100.1, 10.0.0.1"], "198.51.100.1"),
        # No address at all, which is not trusted.
        ("testclient", ["198.51.100.1"], None),
        ("", ["198.51.100.1"], None),
    ],
)
def test_the_address(peer: str | None, lines: list[str], address: str | None) -> None:
    assert ClientAddresses(PROXIES).find(scope(peer, *lines)) == address


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "10.1.2.3", None])
def test_nobody_is_trusted_unless_told(peer: str | None) -> None:
    assert ClientAddresses(()).find(scope(peer, "198.51.100.1")) == peer


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=60), max_size=4))
def test_no_header_makes_an_untrusted_peer_another(lines: list[str]) -> None:
    assert ClientAddresses(PROXIES).find(scope("203.0.113.5", *lines)) == "203.0.113.5"


@given(st.lists(st.text(st.sampled_from("0123456789abcdef.:,[]% \t%"), max_size=60), max_size=4))
def test_whatever_is_found_is_an_address_that_a_proxy_saw(lines: list[str]) -> None:
    # The client writes what it likes; the trusted proxy appends what it saw.
    assert ClientAddresses(PROXIES).find(scope("10.1.2.3", *lines, "203.0.113.5")) == "203.0.113.5"
    alone = ClientAddresses(PROXIES).find(scope("10.1.2.3", *lines))
    assert alone is not None
    assert str(ip_address(alone)) == alone


@pytest.mark.parametrize(
    ("address", "subject"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::1", "::/64"),
        (None, "unix"),
    ],
)
def test_one_client_is_an_ipv4_address_or_a_64_bit_network(address: str | None, subject: str) -> None:
    assert rate_limit_subject(address) == subject


@pytest.mark.parametrize(
    ("value", "proxies"),
    [
        ("", ()),
        ("10.0.0.1", ("10.0.0.1/32",)),
        (" 10.1.2.3/8 , ::1,unix,", ("10.0.0.0/8", "::1/128", "unix")),
    ],
)
def test_the_setting(value: str, proxies: tuple[str, ...]) -> None:
    assert make_settings(trusted_proxies=value).trusted_proxies == proxies


@pytest.mark.parametrize("value", ["*", "localhost", "10.0.0.0/33", "10.0.0.1;10.0.0.2", "proxy.example.com"])
def test_anything_else_is_refused(value: str) -> None:
    with pytest.raises(ValidationError, match="trusted_proxies"):
        make_settings(trusted_proxies=value)
