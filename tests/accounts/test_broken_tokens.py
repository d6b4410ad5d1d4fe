"""Access tokens that are bent, broken or no text are refused."""

from collections.abc import Callable

import httpx
import pytest

from tests.conftest import Person
from tests.support.forged_tokens import assert_refused, encode, sign

HEADER = b'{"alg":"HS256","typ":"at+jwt"}'


BENT: tuple[Callable[[str], str], ...] = (
    lambda token: token[:-10],
    lambda token: token + "A",
    lambda token: token + ".",
    lambda token: "." + token,
    lambda token: token + "." + token.split(".")[2],
    lambda token: ".".join([*token.split(".")[:2], ""]),
    lambda token: ".".join(token.split(".")[:2]),
    lambda token: ".".join([*token.split(".")[:2], "A" * 43]),
    lambda token: ".".join([token.split(".")[0], encode(b'{"sub":"1"}'), token.split(".")[2]]),
    lambda token: token.replace(".", ".\t", 1),
    lambda token: f'"{token}"',
    lambda token: f"{token} {token}",
    lambda token: f"{token},{token}",
    lambda _: "x",
    lambda _: "..",
    lambda _: "....",
    lambda _: "a.b.c",
    lambda _: "!.!.!",
    lambda _: "null",
    lambda _: "undefined",
    lambda _: "A" * 100_000,
    lambda _: "." * 10_000,
    lambda _: "tmr_1_0_" + "A" * 43,
    lambda _: "tm_1_" + "A" * 43,
    lambda _: "tm_9223372036854775808_" + "A" * 43,
    lambda _: "tm_",
    lambda _: sign(HEADER, b""),
    lambda _: sign(HEADER, b"not JSON"),
    lambda _: sign(HEADER, b"[]"),
    lambda _: sign(HEADER, b"null"),
    lambda _: sign(HEADER, b'"text"'),
    lambda _: sign(HEADER, b"1"),
    lambda _: sign(HEADER, b"\xff\xfe"),
    lambda _: sign(HEADER, b"[" * 50_000),
    lambda _: sign(HEADER, b'{"a":' * 50_000),
    lambda _: sign(HEADER, b'{"exp":' + b"9" * 5_000 + b"}"),
    lambda _: sign(b"[]", b"{}"),
    lambda _: sign(b"null", b"{}"),
    lambda _: sign(b"[" * 50_000, b"{}"),
    lambda _: sign(b"\xff", b"{}"),
    lambda _: sign(b'{"alg":"HS256","typ":"at+jwt","typ":"JWT"}', b"{}"),
)


async def test_bent_and_broken_tokens_are_refused(
    client: httpx.AsyncClient, alice: Person, subtests: pytest.Subtests
) -> None:
    for bend in BENT:
        token = bend(alice.token)
        with subtests.test(token=token[:60]):
            await assert_refused(client, token)


@pytest.mark.parametrize("garbage", [b"\xff\xfe\xfd", "ümläut".encode(), b"\xf0\x9f\x98\x80", b"a.\xc3\x28.b", b"\x7f"])
async def test_bytes_that_are_no_text_are_refused(client: httpx.AsyncClient, garbage: bytes) -> None:
    await assert_refused(client, garbage)
    await assert_refused(client, b"a." + garbage + b".c")


async def test_any_single_changed_character_is_noticed(client: httpx.AsyncClient, alice: Person) -> None:
    # Not the last one: some of its bits carry nothing.
    for position in range(0, len(alice.token) - 1, 7):
        if alice.token[position] != ".":
            changed = "A" if alice.token[position] != "A" else "B"
            await assert_refused(client, alice.token[:position] + changed + alice.token[position + 1 :])
