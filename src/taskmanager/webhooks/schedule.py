"""When a message that was not accepted is sent again, and when that ends; pure rules."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final

# In place, while later messages wait; then the message is parked and they go on.
IN_PLACE_SECONDS: Final = (5, 30, 120)
PARKED_SECONDS: Final = (300, 900, 3_600, 3 * 3_600, 6 * 3_600, 12 * 3_600, 24 * 3_600)
LONGEST: Final = timedelta(days=5)
# A webhook is disabled before the message that began it all ends: that one is tried again when it is enabled.
_LONGEST_OF_WEBHOOK: Final = LONGEST - timedelta(minutes=1)
# So many parked messages in a row make a webhook fail: only the oldest is tried until something is accepted.
PARKED_TO_FAIL: Final = 3
_MOST_RETRY_AFTER_SECONDS: Final = 24 * 3_600
_GONE: Final = 410
_HOLDING: Final = frozenset({429, 503})


class DeliveryState(StrEnum):
    """How far a message is: `pending` is tried while later ones wait, `parked` while they go on; the others are final.

    A `failed` one can be redelivered as long as its body is kept.
    """

    PENDING = "pending"
    PARKED = "parked"
    DELIVERED = "delivered"
    FAILED = "failed"


class DisabledReason(StrEnum):
    """Why a webhook is disabled: by an owner, by an answer of 410, after days of failures, or because events are gone.

    The last, `retention`, means that it was so far behind that events which it had not sent were deleted.
    """

    OWNER = "owner"
    GONE = "gone"
    FAILURES = "failures"
    RETENTION = "retention"


@dataclass(frozen=True)
class Attempt:
    """What an attempt had for an answer: `status` is None without one, `error` says what went wrong."""

    status: int | None = None
    error: str | None = None
    answer: str | None = None
    retry_after: str | None = None

    @property
    def is_accepted(self) -> bool:
        """Whether the receiver has the message."""
        return self.error is None and self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True)
class Progress:
    """How a message stands before an attempt: `now` is the database's time, `attempts` those before this one.

    `is_head` is it where later messages wait for it, `is_test` where no event stands behind it. `tried_since` is when
    the trying of it began, `failing_since` when the first attempt failed after the webhook's last success.
    """

    now: datetime
    attempts: int
    is_head: bool
    is_test: bool
    tried_since: datetime
    failing_since: datetime | None


@dataclass(frozen=True)
class Outcome:
    """What follows from an attempt: the message's new state, and seconds until it is tried again.

    `disabled` ends the webhook; `parks` counts a message that later ones pass.
    """

    state: DeliveryState
    delay_seconds: float | None = None
    disabled: DisabledReason | None = None
    parks: bool = False


def decide(attempt: Attempt, progress: Progress) -> Outcome:
    """Return what follows from an attempt."""
    if attempt.is_accepted:
        return Outcome(DeliveryState.DELIVERED)
    if progress.is_test:
        return Outcome(DeliveryState.FAILED)
    if (reason := _end_of_webhook(attempt, progress)) is not None:
        # The message stays, for the day on which an owner enables the webhook again.
        waiting = DeliveryState.PENDING if progress.is_head else DeliveryState.PARKED
        return Outcome(waiting, 0, disabled=reason)
    return _wait(attempt, progress)


def _end_of_webhook(attempt: Attempt, progress: Progress) -> DisabledReason | None:
    if attempt.status == _GONE:
        return DisabledReason.GONE
    if progress.failing_since is not None and progress.now - progress.failing_since >= _LONGEST_OF_WEBHOOK:
        return DisabledReason.FAILURES
    return None


def _wait(attempt: Attempt, progress: Progress) -> Outcome:
    asked_for = _retry_after_seconds(attempt, progress.now)
    if progress.is_head and progress.attempts < len(IN_PLACE_SECONDS):
        return Outcome(DeliveryState.PENDING, max(IN_PLACE_SECONDS[progress.attempts], asked_for))
    if progress.now - progress.tried_since >= LONGEST:
        return Outcome(DeliveryState.FAILED)
    parked = min(max(progress.attempts - len(IN_PLACE_SECONDS), 0), len(PARKED_SECONDS) - 1)
    return Outcome(DeliveryState.PARKED, max(PARKED_SECONDS[parked], asked_for), parks=progress.is_head)


def _retry_after_seconds(attempt: Attempt, now: datetime) -> float:
    """Return the wait that a receiver has asked for (RFC 9110, section 10.2.3)."""
    text = (attempt.retry_after or "").strip()
    if attempt.status not in _HOLDING or not text:
        return 0
    if text.isascii() and text.isdigit():
        return min(int(text[:10]), _MOST_RETRY_AFTER_SECONDS)
    try:
        seconds = (parsedate_to_datetime(text) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return 0
    return min(max(seconds, 0), _MOST_RETRY_AFTER_SECONDS)
