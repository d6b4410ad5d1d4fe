"""Single requests and how long they take."""

import http.client
import json
import statistics
import time
import urllib.parse
from collections.abc import Callable, Mapping

from benchmarks.servers import ServerError


class TimedClient:
    """A connection that stays open and measures each answer."""

    def __init__(self, url: str, token: str) -> None:
        self._connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=30)
        self._headers = {"Authorization": f"Bearer {token}"}

    def get(self, path: str) -> float:
        """Return the milliseconds that an answer took.

        Raises:
            ServerError: It was not 200.
        """
        return self._get(path)[0]

    def _get(self, path: str) -> tuple[float, bytes]:
        started = time.perf_counter()
        self._connection.request("GET", path, headers=self._headers)
        response = self._connection.getresponse()
        body = response.read()
        taken = 1000 * (time.perf_counter() - started)
        if response.status != 200:
            raise ServerError(f"GET {path}: {response.status} {body[:200]!r}")
        return taken, body

    def cursor_of_page(self, page: int) -> str:
        """Walk to a page of 20 tasks in steps of five pages and return its cursor."""
        cursor = ""
        for _ in range((page - 1) // 5):
            path = f"/api/v1/tasks?limit=100&count=none{cursor and f'&cursor={cursor}'}"
            cursor = json.loads(self._get(path)[1])["next_cursor"]
        # The server would close it while others walk.
        self._connection.close()
        return cursor


def timed_in_turns(reads: Mapping[int, Callable[[], float]], times: int) -> dict[int, float]:
    """Return the median of each read, called in turns so that a busy moment hits all of them."""
    for read in reads.values():
        for _ in range(10):
            read()
    taken: dict[int, list[float]] = {key: [] for key in reads}
    for _ in range(times):
        for key, read in reads.items():
            taken[key].append(read())
    return {key: statistics.median(found) for key, found in taken.items()}
