"""A cache for values from requests, whose memory stays small whatever the values are."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, Final, TypeVar

LONGEST_KEY: Final = 256
_Result = TypeVar("_Result")


def cache_short_keys(maxsize: int) -> Callable[[Callable[..., _Result]], Callable[..., _Result]]:
    """Return a decorator like `lru_cache`, which keeps no result whose first argument is longer than `LONGEST_KEY`."""

    def decorate(function: Callable[..., _Result]) -> Callable[..., _Result]:
        cached = lru_cache(maxsize)(function)

        @wraps(function)
        def find(key: bytes | str | None, *others: Any) -> _Result:
            if key is not None and len(key) > LONGEST_KEY:
                return function(key, *others)
            return cached(key, *others)

        return find

    return decorate
