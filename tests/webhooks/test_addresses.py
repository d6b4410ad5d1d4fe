"""Where webhooks may not go: 120 forms of addresses that are not public, and the few that are."""

import asyncio
import socket
import threading
from typing import Any

import pytest

from taskmanager.main import create_app
from taskmanager.webhooks.addresses import is_allowed
from taskmanager.webhooks.guard import (
    ForbiddenAddressError,
    Resolver,
    ResolverBusyError,
    TargetGuard,
    UnresolvedTargetError,
)
from taskmanager.webhooks.sending import Message, attempt
from taskmanager.webhooks.targets import UnacceptableTargetError
from tests.conftest import Person, make_settings
from tests.support.applications import started
from tests.support.webhook_receivers import receiving

# As they are written in a URL; {port} is one on which somebody listens.
_V4 = (
    *("127.0.0.1", "127.0.0.2", "127.1.2.3", "127.255.255.254", "0.0.0.0", "0.0.0.1", "0.255.255.255"),
    *("10.0.0.0", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.254"),
    *("169.254.169.254", "169.254.0.1", "172.16.0.1", "172.31.255.254", "192.168.0.1", "192.168.255.254"),
    *("192.0.0.1", "192.0.0.170", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.254", "198.51.100.7"),
    *("203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
)
# Other spellings of 127.0.0.1, 10.0.0.1 and 169.254.169.254, as the resolver takes them.
_SPELLED = (
    *("127.1", "127.0.1", "0", "2130706433", "0x7f000001", "0x7f.1", "0x7f.0.0.1", "017700000001", "0177.0.0.1"),
    *("0177.1", "127.0.0.1.", "127.000.000.001", "0x7f.0x0.0x0.0x1", "10.1", "167772161", "0xa000001", "012.0.0.1"),
    *("2852039166", "0xa9fea9fe", "0xa9.254.169.254", "0251.0376.0251.0376", "169.254.43518", "169.16689662"),
)
_NAMES = ("localhost", "LOCALHOST", "localhost.", "LocalHost")
_V6 = (
    *("::1", "::", "0:0:0:0:0:0:0:1", "::0001", "::2", "::127.0.0.1", "::7f00:1", "::10.0.0.1", "::a9fe:a9fe"),
    *("::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe"),
    *("::ffff:192.168.1.1", "::ffff:0.0.0.0", "0:0:0:0:0:ffff:127.0.0.1", "::ffff:0:127.0.0.1", "::ffff:0:10.0.0.1"),
    *("64:ff9b::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b::192.168.0.1"),
    *("64:ff9b:1::1", "64:ff9b:1:ffff::7f00:1", "64:ff9b:1::a9fe:a9fe"),
    *("2002:7f00:1::", "2002:7f00:1::1", "2002:a00:1::", "2002:a9fe:a9fe::", "2002:c0a8:1::1", "2002:e000:1::"),
    # Teredo: the client is written upside down, the server is not.
    *("2001:0:7f00:1::", "2001:0:808:808::80ff:fffe", "2001:0:808:808:0:0:f5ff:fffe", "2001:0:a00:1::f7f7:f7f7"),
    *("fc00::1", "fd00::1", "fd12:3456:789a::1", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fd00:ec2::254"),
    *("fe80::1", "fe80::a9fe:a9fe", "febf::1", "fec0::1", "feff::1"),
    *("ff00::1", "ff02::1", "ff02::fb", "ff05::2", "ff0e::1"),
    *("2001:db8::1", "2001:db8:ffff::1", "2001::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:1ff::1"),
    *("3fff::1", "3fff:fff::1", "5f00::1", "100::1", "100:0:0:1::1", "4000::1", "8000::1", "::8:800:200c:417a"),
)
FORMS = (*_V4, *_SPELLED, *_NAMES, *(f"[{address}]" for address in _V6))
PUBLIC = (
    *("8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.1", "172.15.255.255", "172.32.0.1", "192.0.1.1"),
    *("198.17.255.255", "198.20.0.1", "223.255.255.255", "2606:4700:4700::1111", "2a00:1450:4001::1"),
    *("::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2002:808:808::1", "2001:0:808:808::f7f7:f7f7", "2001:200::1"),
)
NOTHING = Message(b"{}", ())


def test_there_are_120() -> None:
    assert len(set(FORMS)) >= 120


@pytest.mark.parametrize("form", FORMS)
async def test_no_form_is_sent_a_byte(form: str) -> None:
    guard = TargetGuard(make_settings())
    async with receiving() as receiver:
        url = f"https://{form}:{receiver.port}/"
        with pytest.raises(UnacceptableTargetError):
            await guard.check(url)
        result = await attempt(guard, url, NOTHING)
        assert (result.status, receiver.connections) == (None, 0)
        assert result.error is not None
        assert "public internet" in result.error


async def test_none_is_accepted_by_the_api(alice: Person, app: object, database_url: str) -> None:
    strict = create_app(make_settings(database_url=database_url))
    async with started(strict) as client:
        for form in FORMS:
            answer = await client.post(
                f"/api/v1/projects/{alice.inbox_id}/webhooks",
                json={"name": "x", "url": f"https://{form}/"},
                headers={"Authorization": f"Bearer {alice.token}"},
            )
            assert answer.status_code == 422, form
            assert answer.json()["errors"][0]["loc"] == ["body", "url"]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_ones_are_allowed(address: str) -> None:
    assert is_allowed(address)


def test_a_network_may_be_allowed() -> None:
    networks = make_settings(webhook_allowed_networks="10.1.0.0/16, fd00::/8").webhook_networks
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1", "8.8.8.8"):
        assert is_allowed(address, networks), address
    for address in ("10.2.0.1", "127.0.0.1", "fc00::1", "not an address"):
        assert not is_allowed(address, networks), address


async def test_a_name_is_resolved_once_and_every_address_counts() -> None:
    async with receiving() as receiver:
        asked = []

        async def rebind(host: str, port: int) -> list[str]:
            asked.append((host, port))
            return ["8.8.8.8"] if len(asked) == 1 else ["127.0.0.1"]

        guard = TargetGuard(make_settings(), rebind)
        url = f"https://rebinding.example:{receiver.port}/"
        await guard.check(url)
        result = await attempt(guard, url, NOTHING)
        assert result.error == "the URL leads to an address that is not on the public internet"
        assert asked == [("rebinding.example", receiver.port)] * 2

        async def mix(host: str, port: int) -> list[str]:
            return ["8.8.8.8", "10.0.0.1"]

        with pytest.raises(ForbiddenAddressError):
            await TargetGuard(make_settings(), mix).check(url)
        assert receiver.connections == 0


async def test_the_checked_address_is_connected_to() -> None:
    # The resolver says 127.0.0.1 once; whoever resolved again would be led elsewhere.
    async with receiving() as receiver:
        answers = iter([["127.0.0.1"]])

        async def resolve(host: str, port: int) -> list[str]:
            return next(answers)

        settings = make_settings(webhook_allowed_hosts="inside.example", webhook_allowed_networks="127.0.0.0/8")
        url = f"http://inside.example:{receiver.port}/path?q=1"
        message = Message(b"{}", (("webhook-id", "x"),))
        result = await attempt(TargetGuard(settings, resolve), url, message)
        assert (result.status, result.error) == (204, None)
        assert receiver.received[0].headers["host"] == f"inside.example:{receiver.port}"


async def test_look_ups_that_hang_are_no_attempts_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    is_over = threading.Event()

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        if host == "hangs.example":
            is_over.wait(20)
            raise OSError("no answer")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", port))]

    monkeypatch.setattr("taskmanager.webhooks.guard.RESOLVE_SECONDS", 0.1)
    monkeypatch.setattr("socket.getaddrinfo", look_up)
    guard = TargetGuard(make_settings(), Resolver(2))
    hanging, good = guard.read("https://hangs.example/"), guard.read("https://good.example/")
    assert await guard.addresses(good) == ["8.8.8.8"]
    for _ in range(2):
        with pytest.raises(UnresolvedTargetError):
            await guard.addresses(hanging)
    for _ in range(3):
        with pytest.raises(ResolverBusyError):
            await guard.addresses(good)
        with pytest.raises(ResolverBusyError):
            await attempt(guard, "https://good.example/", NOTHING)
    await guard.check("https://good.example/")  # each attempt looks again
    is_over.set()
    async with asyncio.timeout(10):
        while True:
            try:
                assert await guard.addresses(good) == ["8.8.8.8"]
                break
            except ResolverBusyError:
                await asyncio.sleep(0.01)


async def test_a_resolver_that_hangs_costs_three_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr("taskmanager.webhooks.guard.RESOLVE_SECONDS", 0.1)
    guard = TargetGuard(make_settings(), hang)
    result = await attempt(guard, "https://hangs.example/", NOTHING)
    assert result.error == "the name of the host cannot be resolved"
    await guard.check("https://hangs.example/")  # it may be there later
