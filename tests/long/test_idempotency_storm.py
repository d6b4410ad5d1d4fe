"""200 keys under 50 parallel copies each, against two processes: every key has one effect."""

import time

import pytest

from taskmanager.database.database import Database
from tests.conftest import Person
from tests.long.conftest import At
from tests.support.storms import backends_killed, effects_missing_or_repeated, send_copies

KEYS = 200
COPIES = 50


@pytest.mark.parametrize("killing", [False, True], ids=["undisturbed", "backends killed"])
async def test_every_key_has_one_effect(
    alice: Person, there: At, database: Database, database_url: str, killing: bool
) -> None:
    started = time.monotonic()
    if killing:
        async with backends_killed(database_url, every_seconds=0.5, at_once=2) as killings:
            report = await send_copies(there(alice), keys=KEYS, copies=COPIES, keys_at_once=2)
        assert killings.count > 0
        print(f"\n{killings.count} backends killed")
    else:
        report = await send_copies(there(alice), keys=KEYS, copies=COPIES, keys_at_once=2)
    wrong = await effects_missing_or_repeated(database, keys=KEYS)
    seconds = time.monotonic() - started
    print(f"\n{KEYS - len(wrong)} of {KEYS} keys with one effect under {COPIES} copies, {seconds:.0f} s: {report}")
    assert report.differing == wrong == []
    assert report.statuses.keys() <= {201, 409, 503}
