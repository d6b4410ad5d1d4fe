"""What the service counts about itself, for Prometheus.

Other parts count in plain attributes, which are watched: `watch_gauge` and `watch_counter` read them when the metrics
are asked for, so that counting costs next to nothing. The durations of requests are recorded immediately.

With several processes PROMETHEUS_MULTIPROC_DIR names a folder in which each keeps its numbers, and the process that is
asked adds them up. It must be set before this module is imported. Watched values of other processes are up to a second
old.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from taskmanager.settings import METRICS_FOLDER_VARIABLE

MEDIA_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
_PREFIX: Final = "taskmanager_"
_PUBLISH_SECONDS: Final = 1.0
# From the time of a read to the longest time of a request, in seconds.
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
# Otherwise a client that makes up methods would create a time series for each.
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER_METHOD: Final = "OTHER"
_NO_ROUTE: Final = "unmatched"


class Metrics:
    """The metrics of one application; `in_flight` is how many requests it is handling now."""

    def __init__(self) -> None:
        disable_created_metrics()
        folder = os.environ.get(METRICS_FOLDER_VARIABLE)
        self._folder = Path(folder) if folder else None
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
        self._registry = CollectorRegistry()
        self._requests = Counter(
            f"{_PREFIX}http_requests",
            "Requests answered; status 0 is a client that went away before its request was there.",
            ["method", "route", "status"],
            registry=self._registry,
        )
        self._durations = Histogram(
            f"{_PREFIX}http_request_duration_seconds",
            "Time from a request's first byte to the last of its answer.",
            ["method", "route"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._unavailable = Counter(
            f"{_PREFIX}unavailable",
            "Requests that found something out of reach or overloaded, by cause; most were answered 503.",
            ["cause"],
            registry=self._registry,
        )
        self._series: dict[tuple[str, str | None, int], _Series] = {}
        self._publishers: list[Callable[[], None]] = []
        self.in_flight = 0
        self.watch_gauge("http_requests_in_flight", "Requests that are being handled.", lambda: self.in_flight)

    def watch_gauge(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Export what `read` returns as a gauge, summed over the processes; `name` comes without the prefix."""
        gauge = Gauge(f"{_PREFIX}{name}", documentation, registry=self._registry, multiprocess_mode="livesum")
        self._publishers.append(lambda: gauge.set(read()))

    def watch_counter(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Export what `read` returns, which never falls, as a counter; `name` comes without prefix and `_total`."""
        counter = Counter(f"{_PREFIX}{name}", documentation, registry=self._registry)
        published = 0.0

        def publish() -> None:
            nonlocal published
            value = read()
            counter.inc(value - published)
            published = value

        self._publishers.append(publish)

    def watch_counters(
        self, name: str, documentation: str, read: Callable[[], Mapping[str, float]], *, label: str
    ) -> None:
        """Export what `read` returns, values that never fall, as a counter with a label, whose values are the keys."""
        counter = Counter(f"{_PREFIX}{name}", documentation, [label], registry=self._registry)
        published: dict[str, float] = {}

        def publish() -> None:
            for key, value in read().items():
                counter.labels(key).inc(value - published.get(key, 0.0))
                published[key] = value

        self._publishers.append(publish)

    def record_request(self, method: str, route: str | None, status: int, seconds: float | None) -> None:
        """Count an answer; `route` is the template of the path, never the path itself, or None if no route took it.

        Without `seconds` its duration says nothing, since it has waited for something to happen.
        """
        series = self._series.get((method, route, status))
        if series is None:
            series = self._new_series(method, route, status)
        series.count += 1
        if seconds is not None:
            series.observe(seconds)

    def record_unavailable(self, cause: str) -> None:
        """Count a request that failed for something that is out of reach or overloaded."""
        self._unavailable.labels(cause).inc()

    async def render(self) -> bytes:
        """Return all metrics, those of the other processes included, in Prometheus' text format 0.0.4."""
        self._publish()
        # Reading the files of many processes takes milliseconds.
        return await asyncio.to_thread(self._render)

    async def keep_published(self) -> None:
        """Publish the watched values to the other processes once a second; return immediately if there can be none."""
        while self._folder is not None:
            self._publish()
            await asyncio.sleep(_PUBLISH_SECONDS)

    def close(self) -> None:
        """Leave the counters to the other processes and remove the gauges."""
        if self._folder is not None:
            self._publish()
            mark_process_dead(os.getpid(), str(self._folder))

    def _publish(self) -> None:
        for publish in self._publishers:
            publish()
        for series in self._series.values():
            series.publish()

    def _new_series(self, method: str, route: str | None, status: int) -> "_Series":
        if method not in _METHODS:
            method = _OTHER_METHOD
        labels = (method, route or _NO_ROUTE)
        series = _Series(self._requests.labels(*labels, str(status)), self._durations.labels(*labels))
        return self._series.setdefault((method, route, status), series)

    def _render(self) -> bytes:
        if self._folder is None:
            return generate_latest(self._registry)
        _forget_dead_processes(self._folder)
        registry = CollectorRegistry()
        registry.register(_AllProcesses(self._folder))
        return generate_latest(registry)


class _AllProcesses(Collector):
    """Adds up the numbers in the files of all processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of all processes as one."""
        files = []
        for file in self._folder.glob("*.db"):
            with suppress(FileNotFoundError):  # the gauges of a process that has just ended
                # One that a process has just created is empty, which its reader takes for a broken file.
                if file.stat().st_size > 0:
                    files.append(str(file))
        metrics: Iterable[Metric] = MultiProcessCollector.merge(files, accumulate=True)
        return metrics


class _Series:
    """The requests of one method, route and status; they reach the counter in batches, since it is slow."""

    __slots__ = ("_counter", "_published", "count", "observe")

    def __init__(self, counter: Counter, durations: Histogram) -> None:
        self.count = 0
        self.observe = durations.observe
        self._counter = counter
        self._published = 0

    def publish(self) -> None:
        self._counter.inc(self.count - self._published)
        self._published = self.count


def _forget_dead_processes(folder: Path) -> None:
    # The gauges of a killed process no longer hold. Its counters stay, because a counter never falls.
    for file in folder.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdigit() and not _is_alive(int(pid)):
            mark_process_dead(int(pid), str(folder))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
