"""Requests to read that are unusual in every way that a client may think of."""

from collections.abc import Iterable

from taskmanager.accounts.tokens import TokenSigner
from tests.conftest import SECRET
from tests.support.access_world import World

Pairs = list[tuple[bytes, bytes]]

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


def pairs(headers: dict[str, str]) -> Pairs:
    """Return headers as they are sent."""
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


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
