"""When a message is tried again, as pure rules."""

from datetime import UTC, datetime, timedelta

import pytest

from taskmanager.webhooks.schedule import Attempt, DeliveryState, DisabledReason, Outcome, Progress, decide

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
FAILED = Attempt(status=500, error="the answer was 500")


def progress(**changes: object) -> Progress:
    values: dict[str, object] = {
        "now": NOW,
        "attempts": 0,
        "is_head": True,
        "is_test": False,
        "tried_since": NOW,
        "failing_since": None,
    }
    return Progress(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("attempts", "outcome"),
    [
        (0, Outcome(DeliveryState.PENDING, 5)),
        (1, Outcome(DeliveryState.PENDING, 30)),
        (2, Outcome(DeliveryState.PENDING, 120)),
        (3, Outcome(DeliveryState.PARKED, 300, parks=True)),
    ],
)
def test_in_place(attempts: int, outcome: Outcome) -> None:
    assert decide(FAILED, progress(attempts=attempts)) == outcome


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(0, 300), (4, 900), (5, 3_600), (6, 10_800), (8, 43_200), (9, 86_400), (99, 86_400)]
)
def test_parked(attempts: int, seconds: int) -> None:
    assert decide(FAILED, progress(attempts=attempts, is_head=False)) == Outcome(DeliveryState.PARKED, seconds)


def test_five_days_end_a_message_or_the_webhook() -> None:
    since = NOW - timedelta(days=5)
    late = progress(attempts=12, is_head=False, tried_since=since)
    assert decide(FAILED, late) == Outcome(DeliveryState.FAILED)
    dead = progress(attempts=12, is_head=False, tried_since=since, failing_since=since)
    assert decide(FAILED, dead) == Outcome(DeliveryState.PARKED, 0, disabled=DisabledReason.FAILURES)
    # The first failure is noted after the first attempt has ended.
    dead = progress(attempts=12, is_head=False, tried_since=since, failing_since=since + timedelta(seconds=12))
    assert decide(FAILED, dead).disabled is DisabledReason.FAILURES


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("60", 60),
        ("4", 5),
        ("0", 5),
        ("-1", 5),
        ("1e9", 5),
        ("\u0661", 5),
        ("9" * 400, 86_400),
        ("Sat, 31 Jan 2026 12:01:00 GMT", 60),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 5),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86_400),
        ("Sat, 31 Jan 2026 12:01:00", 5),  # without a zone nobody knows when that is
        ("soon", 5),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", 5),
        ("", 5),
    ],
)
def test_retry_after(value: str, seconds: float) -> None:
    assert decide(Attempt(503, "x", retry_after=value), progress()).delay_seconds == seconds
    assert decide(Attempt(500, "x", retry_after=value), progress()).delay_seconds == 5


def test_gone() -> None:
    gone = Attempt(410, "the answer was 410")
    assert decide(gone, progress()) == Outcome(DeliveryState.PENDING, 0, disabled=DisabledReason.GONE)
    assert decide(gone, progress(is_test=True)) == Outcome(DeliveryState.FAILED)
