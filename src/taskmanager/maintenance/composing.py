"""The jobs that bring texts which older versions stored into Unicode's normalisation form C."""

from taskmanager.database.composed_text import TextTable
from taskmanager.maintenance.jobs import Batch, Job, Progress


def compose_job(table: TextTable) -> Job:
    """Return the job that rewrites the texts of a table, until none is left that can be."""

    async def run_batch(batch: Batch) -> Progress:
        rows = len(await batch.run.all(table.rewrite, limit=batch.limit))
        return Progress(rows, after="more" if rows == batch.limit else None)

    return Job(f"compose texts of {table.name.replace('_', ' ')}", run_batch)
