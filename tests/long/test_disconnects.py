"""2,000 clients that go away in the middle of a request: `pytest -s tests/long/test_disconnects.py`."""

from pathlib import Path

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.support.disconnects import assert_unharmed, run_disconnects


async def test_2000_disconnects_leave_nothing_behind(
    alice: Person, database: Database, database_url: str, tmp_path: Path
) -> None:
    aftermath = await run_disconnects(alice, database, database_url, tmp_path, count=2_000)
    print(
        f"{aftermath.disconnects} disconnects:"
        f" longest idle in transaction {aftermath.idle_in_transaction_seconds:.2f} s,"
        f" {aftermath.usable_connections} connections usable, {len(aftermath.half_done)} half done,"
        f" {aftermath.done_before_the_retry} of {len(aftermath.keys)} keyed writes done before their retry"
    )
    assert aftermath.disconnects == 2_000
    assert_unharmed(aftermath)
