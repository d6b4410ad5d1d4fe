"""`taskmanager maintain` does the work of the background once."""

from pathlib import Path

from taskmanager.database.database import Database
from taskmanager.features import jobs_of
from taskmanager.main import FEATURES
from tests.conftest import SECRET, Person
from tests.support.command_line import run
from tests.support.databases import refusing_url, temporary_database
from tests.support.rows import execute, fetch_all

JOBS = [job.name for job in jobs_of(FEATURES)]


async def test_each_job_comes_to_its_end(database: Database, database_url: str, alice: Person, tmp_path: Path) -> None:
    statement = """
        INSERT INTO sessions (user_id, created_at, last_used_at)
        SELECT :id, now() - interval '1 year', now() - interval '1 year' FROM generate_series(1, 1000)
    """
    await execute(database, statement, id=alice.id)
    environment = {"DATABASE_URL": database_url, "SECRET_KEY": SECRET}
    done = run("maintain", environment=environment, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{job}: {1000 if 'sessions' in job else 0} rows" for job in JOBS]
    assert len(await fetch_all(database, "SELECT id FROM sessions")) == 1
    kept = run("maintain", environment={**environment, "SESSION_RETENTION_DAYS": "0"}, cwd=tmp_path)
    assert kept.returncode == 0


async def test_what_it_needs_is_one_line_each(database_url: str, tmp_path: Path) -> None:
    async with temporary_database(database_url) as empty:
        for url, told in ((empty, "run `taskmanager migrate`"), (refusing_url(database_url), "cannot be reached")):
            refused = run("maintain", environment={"DATABASE_URL": url, "SECRET_KEY": SECRET}, cwd=tmp_path)
            assert refused.returncode == 2
            assert refused.stdout == ""
            assert len(refused.stderr.splitlines()) == 1
            assert told in refused.stderr
