"""32 writers who get in each other's way for 10,000 operations, against two processes."""

import time

from taskmanager.database.database import Database
from tests.conftest import SignUp
from tests.long.conftest import At
from tests.support.invariants import deadlocks, violations
from tests.support.storms import ConflictStorm

WRITERS = 32
OPERATIONS = 10_000


async def test_no_failure_and_no_broken_rule(sign_up: SignUp, there: At, database: Database) -> None:
    before = await deadlocks(database)
    storm = ConflictStorm([there(await sign_up(f"person_{number}")) for number in range(8)])
    await storm.prepare(projects=4)
    started = time.monotonic()
    report = await storm.run(writers=WRITERS, operations=OPERATIONS)
    seconds = time.monotonic() - started
    broken = await violations(database)
    print(f"\n{OPERATIONS} operations by {WRITERS} writers in {seconds:.0f} s")
    print(f"{len(report.failures)} answers of 5xx, {len(broken)} broken rules,", end=" ")
    print(f"{await deadlocks(database) - before} deadlocks broken up and tried again")
    print(report)
    assert report.failures == []
    assert broken == {}
