"""Requests that are unusual in every way that a client may think of."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeVar

from taskmanager.accounts.tokens import TokenSigner
from tests.conftest import SECRET
from tests.support.access_world import World

Pairs = list[tuple[bytes, bytes]]
_Value = TypeVar("_Value")
_SHARES: Final = 4

HEADERS: list[Pairs] = [
    [],
    [(b"if-match", b'"1"')],
    [(b"if-match", b"nonsense")],
    [(b"if-match", b"*"), (b"if-match", b'"1"')],
    [(b"idempotency-key", b"a-key")],
    [(b"idempotency-key", b"")],
    [(b"idempotency-key", b"\xff" * 300)],
    *([(b"if-none-match", tags)] for tags in (b'"1"', b"1", b"*", b"", b'W/"1"', b'"2", "1"', b'"2"', b"\xff", b'"1')),
    [(b"if-none-match", b'"1"'), (b"if-none-match", b'"2"')],
    [(b"if-none-match", b'"2"'), (b"if-none-match", b'"1"')],
    [(b"content-type", b"application/json")],
    [(b"content-type", b"text/plain"), (b"content-length", b"2")],
    [(b"content-length", b"0")],
    [(b"content-length", b"1_0")],
    [(b"content-length", b"99999999999")],
    [(b"content-length", b"9" * 40)],
    [(b"content-encoding", b"gzip")],
    [(b"expect", b"100-continue")],
    [(b"transfer-encoding", b"chunked")],
    [(b"origin", b"http://localhost:3000")],
    [(b"origin", b"http://evil.example")],
    [(b"origin", b"http://localhost:3000"), (b"origin", b"http://evil.example")],
    [(b"origin", b"")],
    [(b"accept", b"text/html"), (b"accept", b"*/*"), (b"cookie", b"a=b"), (b"cookie", b"c=d")],
    [(b"x-http-method-override", b"DELETE"), (b"range", b"bytes=0-1")],
]
QUERIES = [
    "",
    "?",
    "&",
    "&&limit=1",
    "limit=1",
    "limit=1&limit=2",
    "limit=1&limit=1",
    "limit=",
    "limit",
    "limit=0",
    "limit=101",
    "limit=-1",
    "limit=+1",
    "limit=1.0",
    "limit=%201",
    "limit=1_0",
    "limit=%D9%A1",
    "limit=1;skip=1",
    "LIMIT=1",
    "li%6Dit=1",
    "limit=1&unknown=1",
    "unknown=1",
    "unknown",
    "=1",
    "%00=1",
    "cursor=",
    "cursor=nonsense",
    "cursor=%FF%FE",
    "cursor=a&cursor=b",
    f"cursor={'x' * 5000}",
    "unread=true",
    "unread=1",
    "unread=nonsense",
    "archived=true",
    "archived=maybe",
    "skip=1",
    "skip=501",
    "skip=9007199254740992",
    "count=none",
    "count=exact",
    "count=some",
    "sort_by=title&order=asc",
    "sort_by=title&sort_by=priority",
    "sort_by=",
    "status=pending",
    "status=pending&status=completed&status=pending",
    "status=pending,completed",
    "status=",
    "priority=1&priority=5",
    "priority=0",
    "assignee=me",
    "assignee=me&assignee=1",
    "assignee=nobody",
    "tag=a&tag=%22%7B%7D%2C%5C",
    "tag=%00",
    "search=task",
    "search=%25_%5C",
    "search=%00",
    "search=+",
    "due_after=2030-01-01T00:00:00Z",
    "due_after=2030-01-01T00:00:00+00:00",
    "due_before=2030-01-01",
    "overdue=true",
    "overdue=false&count=none",
    "project_id=1",
    "project_id=1&project_id=2",
    "project_id=0",
    "limit=1&count=none&status=pending&x=",
]
IDS = [
    *("0", "1", "007", "-1", "+1", "1.0", "1e3", "x", "me", "bulk", "%31", "%201", "1%20", "1_0", "²", "%D9%A1", "%00"),
    *("9007199254740991", "9007199254740992", "9223372036854775808", "9" * 15, "9" * 16, "9" * 40, "999999999", ""),
]


CONTENT_TYPES: list[Pairs] = [
    [],
    *(
        [(b"content-type", value)]
        for value in (
            *(b"application/json; charset=utf-8", b"application/json;charset=latin-1", b"APPLICATION/JSON", b""),
            *(b" application/json ", b"application/json;", b"application/jsonx", b"application/problem+json"),
            *(b"application/merge-patch+json", b"text/plain", b"text/json", b"\xff", b"multipart/form-data"),
            b"application/x-www-form-urlencoded",
        )
    ),
    [(b"content-type", b"application/json"), (b"content-type", b"application/json")],
    [(b"content-type", b"application/json"), (b"content-type", b"text/plain")],
    [(b"content-type", b"text/plain"), (b"content-type", b"application/json")],
]
WRITE_HEADERS: list[Pairs] = [
    *([(b"if-none-match", tags)] for tags in (b'"1"', b"*", b"nonsense")),
    [(b"content-length", b"1_0")],
    [(b"content-length", b"0")],
    [(b"content-length", b"9" * 40)],
    *([(b"content-encoding", value)] for value in (b"gzip", b"identity", b"")),
    [(b"expect", b"100-continue")],
    [(b"transfer-encoding", b"chunked")],
    [(b"origin", b"http://localhost:3000")],
    [(b"origin", b"http://evil.example"), (b"origin", b"http://localhost:3000")],
    [(b"x-http-method-override", b"GET"), (b"accept", b"text/html"), (b"prefer", b"return=minimal")],
    [(b"x-api-key", b"tm_1_nonsense")],
    [(b"x-api-key", b"")],
    [(b"authorization", b"Bearer nonsense")],
]
WRITE_QUERIES = [
    *("", "&", "unknown=1", "unknown", "=1", "%00=1", "notify=true", "notify=false", "notify=1", "notify=", "notify"),
    *("notify=true&notify=true", "NOTIFY=true", "notify=true&unknown=1", "notify=maybe", "limit=1", "id=1", "id=x"),
    *("id=0", "ids=1", "user_id=1", "title=x", "notif%79=true"),
]


def bodies(valid: bytes | None) -> Iterable[bytes | None]:
    """Yield variations of a valid body of JSON, or of none."""
    yield from (None, b"", b" ", b"null", b"true", b"1", b'""', b"[]", b"{}", b"[{}]", b"{", b"}", b"nul", b"NaN")
    yield from (b"\xff", b'{"title": "\xff"}', b"[" * 100_000, b'{"a":' * 50_000, b"1" * 5_000, b'"\\ud800"')
    yield from (b'{"": NaN}', b'{"title": NaN}', b'{"title": "x", "priority": Infinity}', b'{"title": 1e400}')
    if valid is None:
        return
    yield from (valid + b" ", b"\n" + valid, valid + b"x", valid + valid, valid[:-1], b"\xef\xbb\xbf" + valid)
    yield from (valid.decode().encode("utf-16"), valid.decode().encode("utf-32"), b"[" + valid + b"]")
    if not valid.startswith(b"{"):
        return
    inner = valid[1:-1]
    yield from (b"{" + inner + b"," + inner + b"}", b"{" + inner + b', "unknown": 1}', b"{" + inner + b",}")
    yield from (b"{" + inner + b', "unknown": NaN}', b'{"unknown": NaN, ' + inner + b"}")
    other: Any
    for name, value in json.loads(valid).items():
        for other in (None, True, 0, -1, 1.5, 10**30, "", " ", "x" * 100_000, "\0", "Ä\u2028", [], [None], {}, value):
            yield json.dumps({**json.loads(valid), name: other}).encode()
        yield json.dumps({name.upper(): value}).encode()
        yield valid.replace(
            json.dumps(name).encode(), b'"\\u00' + f"{ord(name[0]):02x}".encode() + name[1:].encode() + b'"'
        )
    yield b"{" + inner + b', "priority": ' + b"9" * 5_000 + b"}"
    yield b"{" + inner + b', "priority": 1.0, "due_at": "2030-01-31T12:00:00+02:00", "tags": ["b", "a", "b"]}'
    yield b"{" + inner + b', "status": "completed", "description": null, "assignee_id": null}'


def pairs(headers: dict[str, str]) -> Pairs:
    """Return headers as they are sent."""
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def share(values: Sequence[_Value], number: int) -> Sequence[_Value]:
    """Return a quarter of values that one function reads for all routes; routes that follow each other get others."""
    return values[number % _SHARES :: _SHARES]


def credentials(world: World) -> Iterable[Pairs]:
    """Yield credentials in all unusual spellings, and others that do not hold."""
    token = world.logins["owner"].access.encode()
    key = world.keys["tasks:read key"].text.encode()
    account_key = world.keys["account key"].text.encode()
    expired = TokenSigner([SECRET.encode()], access_token_minutes=-1).access_token(world.ids["owner_id"], 1).encode()
    foreign = TokenSigner([b"another secret"], access_token_minutes=1).access_token(world.ids["owner_id"], 1).encode()
    revoked = world.spare_logins["partner"].access.encode()
    unsigned = token.rpartition(b".")[0]
    garbage = [
        *(b"", b" ", b"x", b"\xff", b"a.b.c", b".", b"..", b"tm_", b"tm_1_", b"tm_1_nonsense", b"tm_0_x", b"null"),
        *(expired, foreign, revoked, token[:-1], token + b"x", unsigned + b".", token + b"\xff"),
        *(world.logins["owner"].refresh.encode(), key[:-1], key + b"x", key.upper(), b"x" * 5000),
    ]
    for good in (token, key, account_key):
        for scheme in (
            b"Bearer ",
            b"bearer ",
            b"BEARER ",
            b"Bearer  ",
            b"Bearer\t",
            b"Bearer",
            b"Basic ",
            b"",
            b" Bearer ",
        ):
            yield [(b"authorization", scheme + good)]
        for value in (good + b" ", good + b" x", good + b",x", good + b"="):
            yield [(b"authorization", b"Bearer " + value)]
            yield [(b"x-api-key", value)]
        yield [(b"x-api-key", good)]
        yield [(b"x-api-key", b" " + good)]
        yield [(b"authorization", b"Bearer " + good)] * 2
        yield [(b"x-api-key", good)] * 2
        for other in (b"", b"nonsense", token, key, account_key, revoked):
            yield [(b"authorization", b"Bearer " + good), (b"x-api-key", other)]
            yield [(b"x-api-key", other), (b"authorization", b"Bearer " + good), (b"authorization", b"Bearer " + other)]
            yield [(b"authorization", b"Basic " + good), (b"x-api-key", other)]
    for value in garbage:
        yield [(b"authorization", b"Bearer " + value)]
        yield [(b"authorization", value)]
        yield [(b"x-api-key", value)]
