"""20,000 acknowledged writes over 20 restarts and 200 kills: `make ledger`."""

import pytest

from tests.support.ledger import run_ledger


@pytest.mark.through_pooler
def test_no_acknowledged_write_is_lost_in_the_long_run() -> None:
    ledger = run_ledger(writes=20_000, restarts=20, kills=200)
    print(
        f"{ledger.acknowledged} acknowledged, {len(ledger.lost)} lost, answers {dict(ledger.statuses)},"
        f" slowest {ledger.slowest_seconds:.2f} s, first success after a restart {max(ledger.recoveries):.2f} s"
    )
    assert ledger.lost == []
    assert ledger.acknowledged >= 20_000
    assert set(ledger.statuses) <= {200, 201, 503}
    assert ledger.slowest_seconds < 5
    assert max(ledger.recoveries) < 2
