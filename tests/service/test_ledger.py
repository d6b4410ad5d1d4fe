"""No acknowledged write is lost while the database is restarted and its backends are killed."""

import pytest

from tests.support.ledger import run_ledger


@pytest.mark.takes_long
@pytest.mark.through_pooler
def test_no_acknowledged_write_is_lost() -> None:
    ledger = run_ledger(writes=800, restarts=2, kills=8)
    assert ledger.lost == []
    assert ledger.acknowledged >= 800
    assert set(ledger.statuses) <= {200, 201, 503}
    assert ledger.slowest_seconds < 5
    assert max(ledger.recoveries) < 2
