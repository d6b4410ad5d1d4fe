"""What a feature declares as work of the background: a job, run batch by batch, each in a transaction of its own."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from taskmanager.database.statements import Statement
from taskmanager.database.writes import TransactionRunner
from taskmanager.settings import Settings


class Batch(NamedTuple):
    """A part of a job's pass over its rows.

    `run` runs statements of one transaction, in which no other process runs the same job. `limit` is how many rows to
    look at, so that the batch takes less than 200 ms. `after` is what the batch before returned, None for the first of
    a pass.
    """

    run: TransactionRunner
    settings: Settings
    limit: int
    after: Any = None


class Progress(NamedTuple):
    """What a batch did: how many rows it changed, and where the next one goes on; None ends the pass."""

    rows: int
    after: Any = None


@dataclass(frozen=True, eq=False)
class Job:
    """Work that is done again and again, in any process.

    The same rows may be looked at again after a batch that failed, and by two processes in turn. `name` is words in
    lower case; it is the name of the job's lock, in the log and in the metrics. `interval_seconds` lie between two
    passes of a process.
    """

    name: str
    run_batch: Callable[[Batch], Awaitable[Progress]]
    interval_seconds: float = 600.0


def purge_job(
    name: str,
    statement: Statement,
    values: Callable[[Settings], Mapping[str, Any] | None],
    *,
    interval_seconds: float = 600.0,
) -> Job:
    """Return a job that deletes old rows.

    Args:
        name: Of the job.
        statement: Deletes `:limit` rows at most and returns a row for each.
        values: Its other parameters; None to delete nothing.
        interval_seconds: Between two passes.
    """

    async def run_batch(batch: Batch) -> Progress:
        found = values(batch.settings)
        if found is None:
            return Progress(0)
        rows = len(await batch.run.all(statement, **found, limit=batch.limit))
        return Progress(rows, after="more" if rows == batch.limit else None)

    return Job(name, run_batch, interval_seconds)
