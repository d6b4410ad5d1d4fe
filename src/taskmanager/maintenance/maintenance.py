"""Runs the jobs of the background: in each process that serves, and once for `taskmanager maintain`.

Each batch is a transaction of its own that first tries the lock of its job, so no two processes run the same job at the
same time, and a process that is killed leaves no more than a batch undone. A process runs one batch at a time.
"""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from taskmanager.database.driver_errors import is_transient, sqlstate_of
from taskmanager.database.failures import describe_failure
from taskmanager.database.statements import Statement
from taskmanager.database.writes import WriteRunner
from taskmanager.maintenance.jobs import Batch, Job, Progress
from taskmanager.settings import Settings
from taskmanager.telemetry.metrics import Metrics

_LOCK = Statement(
    "lock job",
    "SELECT pg_try_advisory_xact_lock(hashtextextended('taskmanager job ' || :name, 0)) AS is_ours",
    {"name": "text"},
)
# A batch that takes longer is followed by a smaller one, a short one by a larger one.
_LONG_BATCH_SECONDS = 0.1
_SHORT_BATCH_SECONDS = 0.02
_FIRST_LIMIT = 200
_MOST_ROWS = 5_000
_FIRST_WAIT_SECONDS = 60.0
_RETRY_SECONDS = 5.0
# How long another process may have a job's lock before `run_once` gives up, and how often a failed batch is repeated.
_PATIENCE_SECONDS = 30.0
_POLL_SECONDS = 0.05
_TRIES = 3
# A batch that is under way when the application stops may end.
_STOP_SECONDS = 1.0
_TOOK_TOO_LONG = "57014"


class JobBusyError(Exception):
    """Another process is running the same job now."""


@dataclass
class Tally:
    """What a process has done of a job: whole passes, rows changed, seconds taken, batches that failed."""

    job: Job
    limit: int = _FIRST_LIMIT
    passes: int = 0
    rows: int = 0
    failures: int = 0
    seconds: float = 0.0


class Maintenance:
    """The jobs of a process, run one batch at a time."""

    def __init__(self, jobs: Sequence[Job], writes: WriteRunner, settings: Settings) -> None:
        self.tallies = [Tally(job) for job in jobs]
        self._writes = writes
        self._settings = settings
        self._turn = asyncio.Lock()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Run each job at its interval, until `stop`; what fails is logged and tried again."""
        await asyncio.gather(*(self._repeat(tally) for tally in self.tallies))

    def stop(self) -> None:
        """Let `run` return when the batch under way has ended."""
        self._stopping.set()

    def report_to(self, metrics: Metrics) -> None:
        """Export what has been done of each job."""

        def watch(name: str, documentation: str, read: Callable[[Tally], float]) -> None:
            metrics.watch_counters(
                name, documentation, lambda: {one.job.name: read(one) for one in self.tallies}, label="job"
            )

        watch("job_passes", "Passes of a job of the background that came to their end.", lambda one: one.passes)
        watch("job_rows", "Rows that the job changed.", lambda one: one.rows)
        watch("job_seconds", "Time that the job's batches took.", lambda one: one.seconds)
        watch("job_failures", "Batches of the job that failed.", lambda one: one.failures)

    async def finish(self, running: "asyncio.Task[None]") -> None:
        """Stop, and wait a second for `running`, the task of `run`, before cancelling it."""
        self.stop()
        await asyncio.wait([running], timeout=_STOP_SECONDS)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async def run_once(self, tally: Tally) -> None:
        """Run one pass of a job to its end.

        Raises:
            JobBusyError: Another process has been running it for too long.
            Exception: What the job raised, after several tries.
        """
        tries = 0
        deadline = time.monotonic() + _PATIENCE_SECONDS
        progress = Progress(0)
        while True:
            try:
                found = await self._run_batch(tally, progress.after)
            except Exception as error:
                tries += 1
                if tries == _TRIES or not is_transient(error):
                    raise
                found = None
            if found is None and time.monotonic() > deadline:
                raise JobBusyError
            if found is None:
                await asyncio.sleep(_POLL_SECONDS)
                continue
            if found.after is None:
                return
            progress = found
            deadline = time.monotonic() + _PATIENCE_SECONDS

    async def _repeat(self, tally: Tally) -> None:
        interval = tally.job.interval_seconds
        wait = min(interval, _FIRST_WAIT_SECONDS)
        failed = 0
        # With jitter, so that the processes of a service take turns.
        while not await self._stops_within(wait * random.uniform(0.5, 1.5)):  # noqa: S311  # no secret
            try:
                await self._run_pass(tally)
            except Exception as error:  # noqa: BLE001  # a fault of one job must not end the others
                failed += 1
                wait = min(interval, _RETRY_SECONDS * 2 ** min(failed - 1, 16))
                _log_failure(tally.job, error)
            else:
                failed = 0
                wait = interval

    async def _run_pass(self, tally: Tally) -> None:
        after = None
        while True:
            started = time.monotonic()
            progress = await self._run_batch(tally, after)
            # If another process has the lock, that one does it.
            if progress is None or progress.after is None:
                return
            after = progress.after
            # So it never takes more than half of a connection's time.
            if await self._stops_within(time.monotonic() - started):
                return

    async def _run_batch(self, tally: Tally, after: Any) -> Progress | None:
        """Run one batch, and return None if another process has the lock."""
        job = tally.job
        async with self._turn:
            started = time.perf_counter()
            try:
                async with self._writes.transaction() as run:
                    lock = await run.one(_LOCK, name=job.name)
                    if lock is None or not lock["is_ours"]:
                        return None
                    progress = await job.run_batch(Batch(run, self._settings, tally.limit, after))
            except Exception as error:
                tally.failures += 1
                if sqlstate_of(error) == _TOOK_TOO_LONG:
                    tally.limit = max(1, tally.limit // 4)
                raise
            took = time.perf_counter() - started
        tally.seconds += took
        tally.rows += progress.rows
        tally.passes += progress.after is None
        if took > _LONG_BATCH_SECONDS:
            tally.limit = max(1, tally.limit // 2)
        elif took < _SHORT_BATCH_SECONDS and progress.after is not None:
            tally.limit = min(_MOST_ROWS, tally.limit * 2)
        return progress

    async def _stops_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True


def _log_failure(job: Job, error: Exception) -> None:
    log = structlog.stdlib.get_logger("taskmanager.maintenance")
    if is_transient(error):
        log.warning("job failed", job=job.name, cause=describe_failure(error)[:300])
    else:
        log.error("job failed", job=job.name, exc_info=error)
