"""Jobs of the background: batch by batch, in one process at a time, and again after a failure."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest
from fastapi import FastAPI

from taskmanager.database.database import Database
from taskmanager.database.statements import Statement
from taskmanager.features import Feature
from taskmanager.main import create_app
from taskmanager.maintenance import maintenance as module
from taskmanager.maintenance.jobs import Batch, Job, Progress
from taskmanager.maintenance.maintenance import JobBusyError, Maintenance
from tests.conftest import METRICS_TOKEN, make_settings
from tests.support.applications import started
from tests.support.jobs import run_job
from tests.support.metrics_pages import scrape, value

_ONE = Statement("one", "SELECT 1")
_SLEEP = Statement("sleep", "SELECT pg_sleep(:seconds)", {"seconds": "double precision"})
_LOCKS = Statement("count locks", "SELECT count(*) AS held FROM pg_locks WHERE locktype = 'advisory' AND granted")
_FAIL = Statement("fail", "SELECT 1 / (:zero - 0)", {"zero": "integer"})


async def nothing(_: Batch) -> Progress:
    """Find nothing to do."""
    return Progress(0)


def maintenance_of(app: FastAPI, *jobs: Job) -> Maintenance:
    """Return the maintenance of another process."""
    return Maintenance(jobs, app.state.writes, app.state.settings)


@asynccontextmanager
async def running(maintenance: Maintenance) -> AsyncIterator["asyncio.Task[None]"]:
    """Run it as an application does, while the block runs."""
    task = asyncio.create_task(maintenance.run())
    try:
        yield task
    finally:
        await maintenance.finish(task)


async def until(holds: Callable[[], bool]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110  # the job has no event
            await asyncio.sleep(0.005)


class TestOnePass:
    """A pass is as many batches as it takes, each in a transaction under the lock of its job."""

    async def test_batches_go_on_where_the_one_before_ended(self, app: FastAPI, database: Database) -> None:
        seen: list[object] = []

        async def count_to_three(batch: Batch) -> Progress:
            seen.append(batch.after)
            done = (batch.after or 0) + 1
            return Progress(2, after=done if done < 3 else None)

        tally = await run_job(Job("count", count_to_three), app)
        assert seen == [None, 1, 2]
        assert (tally.passes, tally.rows, tally.failures) == (1, 6, 0)

    async def test_each_has_the_lock_until_its_end(self, app: FastAPI, database: Database) -> None:
        held: list[int] = []

        async def look(batch: Batch) -> Progress:
            row = await batch.run.one(_LOCKS)
            held.append(row["held"] if row else 0)
            return Progress(0)

        await run_job(Job("look", look), app)
        row = await app.state.writes.one(_LOCKS)
        assert (held, row["held"]) == ([1], 0)

    async def test_two_processes_never_run_a_batch_together(self, app: FastAPI, database: Database) -> None:
        inside = most = 0

        async def work(batch: Batch) -> Progress:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            await batch.run.one(_SLEEP, seconds=0.02)
            inside -= 1
            return Progress(1, after=1 if batch.after is None else None)

        job = Job("work", work)
        tallies = await asyncio.gather(run_job(job, app), run_job(job, app))
        assert most == 1
        assert [tally.passes for tally in tallies] == [1, 1]

    async def test_it_gives_up_while_another_process_has_the_lock(
        self, app: FastAPI, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.1)
        async with app.state.writes.transaction() as run:
            await run.one(module._LOCK, name="busy")
            with pytest.raises(JobBusyError):
                await run_job(Job("busy", nothing), app)

    async def test_batches_grow_while_they_are_short_and_shrink_when_they_are_long(
        self, app: FastAPI, database: Database
    ) -> None:
        limits: list[int] = []

        async def work(batch: Batch) -> Progress:
            limits.append(batch.limit)
            await batch.run.one(_SLEEP, seconds=0.11 if len(limits) in {2, 3} else 0)
            return Progress(0, after=1 if len(limits) < 4 else None)

        await run_job(Job("work", work), app, limit=100)
        assert limits == [100, 200, 100, 50]

    async def test_a_batch_that_is_cancelled_by_the_server_is_tried_again_with_fewer_rows(
        self, app: FastAPI, database: Database
    ) -> None:
        limits: list[int] = []

        async def work(batch: Batch) -> Progress:
            limits.append(batch.limit)
            if len(limits) == 1:
                raise asyncpg.QueryCanceledError("canceling statement due to statement timeout")
            return Progress(0)

        tally = await run_job(Job("work", work), app, limit=100)
        assert limits == [100, 25]
        assert (tally.failures, tally.passes) == (1, 1)

    async def test_what_a_failed_batch_wrote_is_rolled_back(self, app: FastAPI, database: Database) -> None:
        async def fail(batch: Batch) -> Progress:
            await batch.run.one(_ONE)
            await batch.run.one(_FAIL, zero=0)
            return Progress(1)

        with pytest.raises(asyncpg.DivisionByZeroError):
            await run_job(Job("fail", fail), app)
        assert (await app.state.writes.one(_LOCKS))["held"] == 0


class TestAtIntervals:
    """An application runs its jobs for as long as it serves."""

    async def test_each_is_run_again_and_again(self, app: FastAPI, database: Database) -> None:
        maintenance = maintenance_of(app, Job("one", nothing, 0.01), Job("two", nothing, 0.01))
        async with running(maintenance):
            await until(lambda: all(tally.passes >= 3 for tally in maintenance.tallies))

    async def test_a_failure_is_tried_again_and_ends_no_other_job(
        self, app: FastAPI, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_RETRY_SECONDS", 0.01)

        async def fail_twice(_: Batch) -> Progress:
            if maintenance.tallies[0].failures < 2:
                raise ValueError("a fault of the job")
            return Progress(0)

        maintenance = maintenance_of(app, Job("fails", fail_twice, 0.02), Job("works", nothing, 0.02))
        async with running(maintenance):
            await until(lambda: all(tally.passes >= 2 for tally in maintenance.tallies))
        assert maintenance.tallies[0].failures == 2

    async def test_a_job_that_another_process_runs_is_left_to_it(self, app: FastAPI, database: Database) -> None:
        maintenance = maintenance_of(app, Job("busy", nothing, 0.01), Job("free", nothing, 0.01))
        async with app.state.writes.transaction() as run:
            await run.one(module._LOCK, name="busy")
            async with running(maintenance):
                await until(lambda: maintenance.tallies[1].passes >= 3)
        assert (maintenance.tallies[0].passes, maintenance.tallies[0].failures) == (0, 0)

    async def test_a_stop_waits_for_the_batch_under_way_and_begins_no_other(
        self, app: FastAPI, database: Database
    ) -> None:
        ended: list[int] = []
        begun = asyncio.Event()

        async def work(batch: Batch) -> Progress:
            begun.set()
            await batch.run.one(_SLEEP, seconds=0.1)
            ended.append(1)
            return Progress(1, after="more")

        maintenance = maintenance_of(app, Job("work", work, 0.001))
        async with running(maintenance) as task:
            await begun.wait()
            maintenance.stop()
            await asyncio.wait_for(asyncio.shield(task), 1)
        assert ended == [1]

    async def test_a_stop_does_not_wait_for_a_batch_that_hangs(
        self, app: FastAPI, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_STOP_SECONDS", 0.1)
        begun = asyncio.Event()

        async def hang(_: Batch) -> Progress:
            begun.set()
            await asyncio.Event().wait()
            return Progress(0)

        maintenance = maintenance_of(app, Job("hang", hang, 0.001))
        async with asyncio.timeout(2), running(maintenance):
            await begun.wait()


async def test_a_feature_declares_its_jobs_and_the_metrics_count_them(database_url: str) -> None:
    done = asyncio.Event()

    async def work(_: Batch) -> Progress:
        done.set()
        return Progress(7)

    feature = Feature(routers=(), jobs=(Job("work", work, 0.01),))
    settings = make_settings(database_url=database_url, metrics_token=METRICS_TOKEN)
    from taskmanager.health.feature import FEATURE as HEALTH

    app = create_app(settings, [HEALTH, feature])
    async with started(app) as client:
        await asyncio.wait_for(done.wait(), 5)
        await until(lambda: app.state.maintenance.tallies[-1].passes >= 1)
        samples = await scrape(client)
    assert value(samples, "job_passes_total", job="work") >= 1
    assert value(samples, "job_rows_total", job="work") >= 7
    assert value(samples, "job_failures_total", job="work") == 0
