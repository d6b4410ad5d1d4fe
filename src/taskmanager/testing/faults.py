"""Faults that a client's test asks for with a header: an answer that says to try again, or a delay."""

import asyncio
import re
from typing import Final

from starlette.types import Scope

from taskmanager.errors import MalformedHeaderError, OverloadedError, RateLimitedError

HEADER: Final = "Testing-Fault"
_NAME: Final = HEADER.lower().encode()
_LONGEST_DELAY_MS: Final = 60_000
_RETRY_SECONDS: Final = 1
_DELAY = re.compile(r"delay=(0|[1-9][0-9]{0,4})", re.ASCII)


async def inject_fault(scope: Scope) -> None:
    """Delay a request, or refuse it before anything is done for it, as its header asks.

    The header is a list of `delay=MILLISECONDS`, at most 60,000, `429` and `503`; the delay comes first.

    Raises:
        RateLimitedError: The header asks for a 429.
        OverloadedError: It asks for a 503.
        MalformedHeaderError: It asks for anything else.
    """
    wanted = [part.strip() for name, value in scope["headers"] if name == _NAME for part in _split(value)]
    if not wanted:
        return
    statuses = [part for part in wanted if part in {"429", "503"}]
    delays = [int(match[1]) for part in wanted if (match := _DELAY.fullmatch(part))]
    if len(statuses) + len(delays) < len(wanted) or len(statuses) > 1 or sum(delays) > _LONGEST_DELAY_MS:
        raise MalformedHeaderError(HEADER)
    await asyncio.sleep(sum(delays) / 1_000)
    if statuses == ["429"]:
        raise RateLimitedError("requests", _RETRY_SECONDS)
    if statuses == ["503"]:
        raise OverloadedError("requests")


def _split(value: bytes) -> list[str]:
    return value.decode("latin-1").split(",")
