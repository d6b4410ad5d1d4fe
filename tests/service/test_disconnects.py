"""A client that goes away leaves nothing half done behind."""

from pathlib import Path

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.disconnects import assert_unharmed, run_disconnects


async def test_200_disconnects_leave_nothing_behind(
    alice: Person, database: Database, database_url: str, tmp_path: Path
) -> None:
    aftermath = await run_disconnects(alice, database, database_url, tmp_path, count=200)
    assert aftermath.disconnects == 200
    assert_unharmed(aftermath)
