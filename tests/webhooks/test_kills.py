"""Processes that are killed while they send lose nothing, and never send the same webhook together."""

from pathlib import Path

import pytest
from fastapi import FastAPI

from tests.conftest import Person
from tests.support.webhook_receivers import Receiver
from tests.support.webhook_storm import storm


@pytest.mark.takes_long
@pytest.mark.server_itself("starts processes of its own")
async def test_kills_at_claim_send_and_record(alice: Person, app: FastAPI, receiver: Receiver, tmp_path: Path) -> None:
    result = await storm(app, alice, receiver, tmp_path, projects=4, tasks=40, odds=75)
    assert result.events == 160
    assert result.deaths >= 1
    assert result.requests >= result.events
    assert result.most_at_once == 1
