"""What the load generator sends: each kind of work as one request or several, with blanks to be filled in.

A blank is `<name>`. `<n>` is a number that grows with every request to a server, `<word>` one of the words that tasks
contain; all others are values of the caller, of which one is taken by chance. A name that begins with `once_` takes
each value of all callers once.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from benchmarks.rows import WORDS

API = "/api/v1"
BLANK = re.compile(r"<([a-z_]+)>")
_NEW_TASK = (
    '{"title": "Written under load <n>", '
    '"description": "As long as descriptions of tasks usually are, so about this long.", "priority": 3}'
)


@dataclass(frozen=True)
class Request:
    """A request as a template; `status` is that of a good answer, `weight` its share among several."""

    method: str
    path: str
    body: str = ""
    headers: Sequence[str] = ()
    status: int = 200
    weight: int = 1

    @property
    def blanks(self) -> set[str]:
        """The names of the blanks."""
        return set(BLANK.findall("\n".join((self.path, self.body, *self.headers))))

    def fill(self, values: Mapping[str, Sequence[str]], number: int, random: Random) -> "Request":
        """Return the request for one caller, as the load generator sends it."""

        def choose(blank: re.Match[str]) -> str:
            if blank[1] == "n":
                return str(number)
            return random.choice(WORDS if blank[1] == "word" else values[blank[1]])

        path, body, *headers = (BLANK.sub(choose, text) for text in (self.path, self.body, *self.headers))
        return replace(self, path=path, body=body, headers=headers)


def get(path: str, *headers: str, status: int = 200) -> Request:
    """Return a GET below the API's prefix."""
    return Request("GET", f"{API}{path}", headers=headers, status=status)


# No work writes what another one counts on: `<task>` is changed and commented on, `<known_task>` and `<discussed_task>`
# are not, so a server that does more writes gives its reads no more to do.
_SINGLE = {
    "get": get("/tasks/<task>"),
    "get_304": get("/tasks/<known_task>", 'If-None-Match: "1"', status=304),
    "newest": get("/tasks?limit=20&count=none"),
    "list_status": get("/tasks?status=<status>&limit=20&count=none"),
    "list_priority": get("/tasks?sort_by=priority&limit=20&count=none"),
    "overdue": get("/tasks?overdue=true&limit=20&count=none"),
    "list_count": get("/tasks?limit=20&count=exact"),
    "search": get("/tasks?search=<word>&limit=20&count=none"),
    "comments": get("/tasks/<discussed_task>/comments"),
    "projects": get("/projects"),
    "notifications": get("/notifications"),
    "update": Request("PATCH", f"{API}/tasks/<task>", '{"title": "Changed under load <n>", "status": "in_progress"}'),
    "comment": Request(
        "POST", f"{API}/tasks/<task>/comments", '{"body": "Comment <n>, as long as most are."}', status=201
    ),
    "create": Request("POST", f"{API}/tasks", _NEW_TASK, status=201),
    "create_key": Request("POST", f"{API}/tasks", _NEW_TASK, ("Idempotency-Key: <run>-<n>",), status=201),
    "bulk": Request("POST", f"{API}/tasks/bulk", f'{{"tasks": [{", ".join([_NEW_TASK] * 20)}]}}', status=201),
}

# What a web client sends while a person works: lists that are filtered are more than half of it.
_SESSION = {
    "list_status": 35,
    "overdue": 12,
    "search": 6,
    "list_priority": 6,
    "newest": 4,
    "list_count": 2,
    "get": 9,
    "get_304": 5,
    "comments": 5,
    "projects": 3,
    "notifications": 4,
    "update": 4,
    "create": 1,
    "create_key": 2,
    "comment": 2,
}

_READS = tuple(name for name, request in _SINGLE.items() if request.method == "GET")
# Reads come first: what the others write makes the lists longer.
WORKS: dict[str, Sequence[Request]] = {
    **{name: (_SINGLE[name],) for name in _READS},
    "mix": tuple(replace(_SINGLE[name], weight=weight) for name, weight in _SESSION.items()),
    **{name: (request,) for name, request in _SINGLE.items() if name not in _READS},
}
# What the peers know that have an owner column only.
OWNED_WORKS = ("get", "newest", "create", "update")


def write_requests(requests: Sequence[Request], path: Path) -> None:
    """Write the file that the load generator reads: weight, method, path, body and headers, with tabs between them."""
    lines = ("\t".join((str(r.weight), r.method, r.path, r.body, *r.headers)) for r in requests)
    path.write_text("".join(f"{line}\n" for line in lines))
