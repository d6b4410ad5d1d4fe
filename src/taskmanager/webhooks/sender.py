"""Sends what webhooks are due, in each process that serves; processes share the work by claims in the database.

It looks once a second, and right after a commit of its own process. A webhook that was claimed is sent one message at a
time, in order, for some seconds, and then let go so that others have their turn. No connection is held while a receiver
is waited for, and no more than one is used at any time.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import asyncpg
import structlog

from taskmanager.database.driver_errors import DATABASE_ERRORS
from taskmanager.following.epochs import Epochs
from taskmanager.following.positions import Position
from taskmanager.webhooks.claims import Claim, Claims, Fresh, Frozen, Next, Receiver
from taskmanager.webhooks.guard import ResolverBusyError, TargetGuard
from taskmanager.webhooks.messages import write_message
from taskmanager.webhooks.schedule import Attempt, DeliveryState, Outcome, Progress, decide
from taskmanager.webhooks.sending import Message, attempt
from taskmanager.webhooks.signatures import SecretMaker, SecretName

MOST_AT_ONCE: Final = 32
MOST_OF_HOST: Final = 4
_POLL_SECONDS: Final = 1.0
# Between two looks, however many commits there are; and a look may take so small a part of the time.
_LEAST_PAUSE_SECONDS: Final = 0.02
_PAUSE_FACTOR: Final = 20
_MOST_PAUSE_SECONDS: Final = 5.0
_TURN_SECONDS: Final = 5.0
# Later than this after the claim nothing is sent: an attempt has to end before the lease does.
_LATEST_START_SECONDS: Final = 25.0
_PAUSE_AFTER_FAILURE_SECONDS: Final = 2.0
_STOP_SECONDS: Final = 1.0

Send = Callable[[TargetGuard, str, Message], Awaitable[Attempt]]


class WebhookSender:
    """Sends messages until `stop`; `counts` are how many of each outcome there were."""

    def __init__(
        self, claims: Claims, epochs: Epochs, guard: TargetGuard, secrets: SecretMaker, send: Send = attempt
    ) -> None:
        self.counts = dict.fromkeys(("delivered", "retried", "parked", "failed", "disabled"), 0)
        self._claims = claims
        self._epochs = epochs
        self._guard = guard
        self._secrets = secrets
        self._send = send
        self._stopping = asyncio.Event()
        self._woken = asyncio.Event()
        self._main: asyncio.Task[Any] | None = None
        self._is_interrupted = False
        self._busy: Counter[str] = Counter()
        self._turns: set[asyncio.Task[None]] = set()
        # One statement at a time, so that requests find their connections free.
        self._database = asyncio.Lock()
        self._log = structlog.stdlib.get_logger("taskmanager.webhooks")

    @property
    def sending(self) -> int:
        """How many webhooks this process has claimed now."""
        return len(self._turns)

    def notice_commit(self) -> None:
        """Look soon: something has been committed here, and not by the sender itself."""
        with suppress(RuntimeError):  # outside of the loop nobody waits
            task = asyncio.current_task()
            if task is not self._main and task not in self._turns:
                self.wake()

    def wake(self) -> None:
        """Look now."""
        self._woken.set()

    def stop(self) -> None:
        """Claim nothing more."""
        self._stopping.set()
        self.wake()

    async def run(self) -> None:
        """Send whatever becomes due, until `stop`."""
        self._main = asyncio.current_task()
        try:
            while not self._stopping.is_set():
                self._woken.clear()
                await _wait(self._woken, await self._look_for_work())
            if self._turns:
                await asyncio.wait(self._turns)
        finally:
            await self._end_turns()

    async def _look_for_work(self) -> float:
        """Claim what is due, and return how long to wait unless something happens."""
        free = MOST_AT_ONCE - len(self._turns)
        if free <= 0:
            return _POLL_SECONDS
        started = time.monotonic()
        try:
            if self._is_interrupted:
                # After a failover the log may be another one.
                await self._epochs.look()
            async with self._database:
                claims = await self._claims.claim(free, MOST_OF_HOST, self._busy)
            self._is_interrupted = False
        except DATABASE_ERRORS as error:
            self._is_interrupted = True
            self._log.warning("webhooks wait for the database", cause=f"{type(error).__name__}: {error}"[:300])
            return _PAUSE_AFTER_FAILURE_SECONDS
        for claim in claims:
            self._busy[claim.host] += 1
            turn = asyncio.create_task(self._take_turn(claim, started))
            self._turns.add(turn)
            turn.add_done_callback(self._turns.discard)
        pause = max(_LEAST_PAUSE_SECONDS, _PAUSE_FACTOR * (time.monotonic() - started))
        await _wait(self._stopping, min(pause, _MOST_PAUSE_SECONDS))
        return _POLL_SECONDS

    async def _take_turn(self, claim: Claim, claimed_at: float) -> None:
        steps = 0
        try:
            while not self._stopping.is_set() and time.monotonic() - claimed_at < _TURN_SECONDS:
                if not await self._do_next(claim, claimed_at):
                    break
                steps += 1
            async with self._database:
                await self._claims.release(claim)
        except asyncpg.ForeignKeyViolationError:
            pass  # the webhook was deleted meanwhile
        except DATABASE_ERRORS as error:
            # The lease ends by itself, and what was sent without being recorded is sent again.
            self._log.warning("webhook turn broken off", cause=f"{type(error).__name__}: {error}"[:300], **_name(claim))
        except Exception:  # noqa: BLE001  # a fault of one webhook must not end the others
            self._log.exception("webhook turn failed", **_name(claim))
        finally:
            self._busy[claim.host] -= 1
            if not self._busy[claim.host]:
                del self._busy[claim.host]
            if steps:  # something may have happened while the webhook was claimed
                self.wake()

    async def _do_next(self, claim: Claim, claimed_at: float) -> bool:
        """Do what is next for a webhook, and return whether to go on."""
        async with self._database:
            found = await self._claims.look(claim)
        if found is None or found.work is None:
            return False
        if isinstance(found.work, Position):
            async with self._database:
                return await self._claims.pass_by(claim, found.work)
        frozen = await self._freeze(claim, found, found.work) if isinstance(found.work, Fresh) else found.work
        if frozen is None or time.monotonic() - claimed_at > _LATEST_START_SECONDS:
            return False
        try:
            result = await self._send(self._guard, found.receiver.url, self._sign(claim, found.receiver, frozen))
        except ResolverBusyError:
            return False  # which is not the receiver's fault
        outcome = decide(result, _progress(found, frozen))
        async with self._database:
            is_failing = await self._claims.record(claim, frozen, result, outcome)
        if is_failing is None:
            self._log.info("webhook claim lost", **_name(claim))
            return False
        self._count(outcome)
        if outcome.disabled is not None:
            self._log.warning("webhook disabled", reason=outcome.disabled, **_name(claim))
        return outcome.disabled is None

    async def _freeze(self, claim: Claim, found: Next, fresh: Fresh) -> Frozen | None:
        epoch = await self._epochs.current()
        if epoch.id != found.epoch_id:
            epoch = await self._epochs.look(epoch)
        message_id = f"msg_{claim.webhook_id}_{fresh.position.era}_{fresh.position.id}"
        body = write_message(fresh.event, epoch.write(fresh.position))
        async with self._database:
            return await self._claims.freeze(claim, fresh, message_id, body)

    def _sign(self, claim: Claim, receiver: Receiver, frozen: Frozen) -> Message:
        generations = [receiver.generation, *([receiver.generation - 1] if receiver.signs_previous else [])]
        names = [SecretName(claim.project_id, claim.webhook_id, generation) for generation in generations]
        timestamp = int(time.time())
        headers = (
            ("webhook-id", frozen.message_id),
            ("webhook-timestamp", str(timestamp)),
            ("webhook-signature", self._secrets.sign(names, frozen.message_id, timestamp, frozen.body)),
        )
        return Message(frozen.body, headers)

    def _count(self, outcome: Outcome) -> None:
        if outcome.disabled is not None:
            self.counts["disabled"] += 1
        name = "retried" if outcome.state is DeliveryState.PENDING else outcome.state.value
        self.counts[name] += 1

    async def _end_turns(self) -> None:
        if self._turns:
            await asyncio.wait(self._turns, timeout=_STOP_SECONDS)
        for turn in self._turns:
            turn.cancel()
        await asyncio.gather(*self._turns, return_exceptions=True)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _progress(found: Next, frozen: Frozen) -> Progress:
    return Progress(
        now=found.receiver.now,
        attempts=frozen.attempts,
        is_head=frozen.is_head,
        is_test=frozen.is_test,
        tried_since=frozen.tried_since,
        failing_since=found.receiver.failing_since,
    )


def _name(claim: Claim) -> dict[str, Any]:
    return {"project_id": claim.project_id, "webhook_id": claim.webhook_id}
