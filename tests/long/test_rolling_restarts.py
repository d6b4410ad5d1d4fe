"""20 restarts in turn of two services under load: `pytest -s tests/long/test_rolling_restarts.py`."""

from pathlib import Path

from sqlalchemy import text

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.rolling import restart_in_turn
from tests.support.sessions import open_session


async def test_20_restarts_fail_no_request(
    alice: Person, database: Database, database_url: str, tmp_path: Path
) -> None:
    outcome = await restart_in_turn(database_url, alice.token, tmp_path, restarts=20)
    print(
        f"{outcome.statuses.total()} requests over {outcome.restarts} restarts: {len(outcome.failures)} failed,"
        f" answers {dict(outcome.statuses)}, slowest {outcome.slowest_seconds:.2f} s,"
        f" stopping took {min(outcome.stop_seconds):.1f} to {max(outcome.stop_seconds):.1f} s"
    )
    assert outcome.failures == []
    assert outcome.restarts == 20
    assert outcome.statuses.total() > 2_000
    async with open_session(database) as reader:
        stored = set((await reader.execute(text("SELECT id FROM tasks"))).scalars())
    assert stored == outcome.created
