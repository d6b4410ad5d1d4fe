"""Whether two servers answer the same to each kind of work, before either is timed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import httpx

from benchmarks.callers import Values
from benchmarks.verification import VerificationError
from benchmarks.works import WORKS, Request

# The peer pages by `skip` only.
_NOT_OF_PEERS = frozenset({"next_cursor"})
_CALLERS = 5


@dataclass(frozen=True)
class Answer:
    """What is compared of an answer: its status, the types of all values with the lengths of lists, and ids of rows."""

    status: int
    shape: Any
    ids: Sequence[int]


def read_answers(url: str, callers: Mapping[int, Values], works: Sequence[str]) -> dict[str, list[Answer]]:
    """Return the answers to each request of the works, each for a few callers.

    Raises:
        VerificationError: One has not the status that it should have.
    """
    answers: dict[str, list[Answer]] = {}
    random = Random(0)
    users = spread_users(callers)
    with httpx.Client(base_url=url, timeout=10) as client:
        number = 0
        for work in works:
            for request in WORKS[work]:
                for user in users:
                    number += 1
                    answers.setdefault(work, []).append(_send(client, request, callers[user], number, random))
    return answers


def spread_users(callers: Mapping[int, Values]) -> list[int]:
    """Return some users, from the first to the last."""
    users = sorted(callers)
    return users[:: max(1, len(users) // _CALLERS)][:_CALLERS]


def send(client: httpx.Client, request: Request, caller: Values, number: int, random: Random) -> httpx.Response:
    """Send a request for a caller as the load generator does.

    Raises:
        VerificationError: The answer has not the status that it should have.
    """
    filled = request.fill(caller, number, random)
    headers = dict(header.split(": ", 1) for header in filled.headers)
    response = client.request(
        filled.method,
        filled.path,
        content=filled.body,
        headers={"Authorization": f"Bearer {caller['token'][0]}", "Content-Type": "application/json", **headers},
    )
    if response.status_code != request.status:
        what = f"{response.status_code} {response.text[:200]}, not {request.status}"
        raise VerificationError(f"{filled.method} {filled.path} {filled.body[:80]}: {what}")
    return response


def _send(client: httpx.Client, request: Request, caller: Values, number: int, random: Random) -> Answer:
    response = send(client, request, caller, number, random)
    body = response.json() if response.content else None
    # What a write makes has the next id of its table, which depends on the refusals before.
    ids = list(_ids_in(body)) if request.method == "GET" else []
    return Answer(response.status_code, _shape(body), ids)


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shape(each) for key, each in sorted(value.items()) if key not in _NOT_OF_PEERS}
    if isinstance(value, list):
        return [_shape(each) for each in value]
    return type(value).__name__


def _in_common(shape: Any, other: Any) -> Any:
    if isinstance(shape, dict) and isinstance(other, dict):
        return {key: _in_common(shape[key], other[key]) for key in shape if key in other}
    if isinstance(shape, list) and isinstance(other, list) and len(shape) == len(other):
        return [_in_common(*pair) for pair in zip(shape, other, strict=True)]
    return shape


def _ids_in(body: Any) -> Sequence[int]:
    lists = [body] if "id" in (body or {}) else next((v for v in (body or {}).values() if isinstance(v, list)), [])
    return [row["id"] for row in lists]


def require_same(
    ours: Mapping[str, Sequence[Answer]],
    theirs: Mapping[str, Sequence[Answer]],
    names: tuple[str, str],
    *,
    is_other_revision: bool = False,
) -> None:
    """Check that two servers answered the same to the works that both know.

    Fields that only one has of another revision of the service do not count.

    Raises:
        VerificationError: A status, a type, the number of rows or an id differs.
    """
    for work in ours.keys() & theirs.keys():
        for one, other in zip(ours[work], theirs[work], strict=True):
            is_same = one == other
            if is_other_revision:
                shape = _in_common(one.shape, other.shape)
                is_same = replace(one, shape=shape) == replace(other, shape=_in_common(other.shape, one.shape))
            if not is_same:
                both = "\n".join(f"{name}: {_brief(answer)}" for name, answer in zip(names, (one, other), strict=True))
                raise VerificationError(f"{work}: the answers differ\n{both}")


def _brief(answer: Answer) -> str:
    return f"{answer.status} {list(answer.ids)[:5]} {json.dumps(answer.shape)[:1500]}"
