"""Runs the jobs of the background when a test asks for it."""

from typing import Any

from fastapi import FastAPI

from taskmanager.maintenance.jobs import Job
from taskmanager.maintenance.maintenance import Maintenance, Tally


async def run_job(job: Job, app: FastAPI, *, limit: int | None = None, **settings: Any) -> Tally:
    """Run a job to its end once, with other settings than the application's, and return what was done.

    Without a `limit` its batches are as large as those of the service.
    """
    changed = app.state.settings.model_copy(update=settings)
    maintenance = Maintenance([job], app.state.writes, changed)
    tally = maintenance.tallies[0]
    if limit is not None:
        tally.limit = limit
    await maintenance.run_once(tally)
    return tally
