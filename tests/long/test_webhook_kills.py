"""Ten thousand events, and processes that die at every moment of sending: nothing is lost, nothing comes twice at once.

Run it by its path: `pytest -s tests/long/test_webhook_kills.py`; it says how often processes died.
"""

import os
import time
from pathlib import Path

from fastapi import FastAPI

from tests.conftest import Person
from tests.support.webhook_receivers import receiving
from tests.support.webhook_storm import storm

EVENTS = int(os.environ.get("WEBHOOK_EVENTS", "10000"))
PROJECTS = 4


async def test_nothing_is_lost(alice: Person, app: FastAPI, tmp_path: Path) -> None:
    started = time.monotonic()
    async with receiving() as receiver:
        result = await storm(
            app,
            alice,
            receiver,
            tmp_path,
            projects=PROJECTS,
            tasks=EVENTS // PROJECTS,
            odds=EVENTS // 10,
            seconds=1_800,
        )
    print(f"\n{result} in {time.monotonic() - started:.0f} s")
    assert result.events == EVENTS // PROJECTS * PROJECTS
    assert result.most_at_once == 1
    assert result.deaths >= 5
