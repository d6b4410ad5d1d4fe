"""The statements by which processes share the sending: claim a webhook, see what is next, freeze, record, release.

A claim is committed before anything is sent. It raises the webhook's token, which every later statement of the claim
checks, and holds the webhook for LEASE_SECONDS: a process that has lost it records nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from json import dumps
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg

from taskmanager.database.writes import TransactionRunner
from taskmanager.events.followed import FollowedEntity
from taskmanager.following.positions import Position
from taskmanager.webhooks.claim_statements import CLAIM, FREEZE, PASS_BY, RECORD, RELEASE, look_statement
from taskmanager.webhooks.messages import EventOfMessage
from taskmanager.webhooks.schedule import Attempt, DeliveryState, Outcome

# An attempt has ended long before.
LEASE_SECONDS: Final = 40.0


class Claim(NamedTuple):
    """A webhook that this process may send to, until its lease ends."""

    project_id: int
    webhook_id: int
    token: int
    host: str

    @property
    def parameters(self) -> dict[str, int]:
        """The parameters of the statements of a claim."""
        return {"project_id": self.project_id, "webhook_id": self.webhook_id, "token": self.token}


@dataclass(frozen=True)
class Receiver:
    """Where to send and how to sign, as the webhook is now."""

    url: str
    generation: int
    signs_previous: bool
    failing_since: datetime | None
    now: datetime


@dataclass(frozen=True)
class Frozen:
    """A message that is written down; `position` is that of its event, if that is not known to be handled yet."""

    delivery_id: int
    message_id: str
    body: bytes
    attempts: int
    tried_since: datetime
    is_head: bool
    is_test: bool


@dataclass(frozen=True)
class Fresh:
    """An event that is next to be sent."""

    event: EventOfMessage
    position: Position


@dataclass(frozen=True)
class Next:
    """What a webhook is to do: send a message, write one for an event, pass others by, or nothing."""

    receiver: Receiver
    epoch_id: UUID
    work: Frozen | Fresh | Position | None


class Claims:
    """Runs the statements; `entities` are the things whose rows messages have."""

    def __init__(self, run: TransactionRunner, entities: Sequence[FollowedEntity]) -> None:
        self._run = run
        self._look = look_statement(entities)

    async def claim(self, limit: int, most_of_host: int, busy: Mapping[str, int]) -> list[Claim]:
        """Return webhooks that are due and that no process has, up to `most_of_host` less what is `busy` of a host."""
        rows = await self._run.all(
            CLAIM, limit=limit, most_of_host=most_of_host, busy=dumps(busy), lease_seconds=LEASE_SECONDS
        )
        return [Claim(**row) for row in rows]

    async def look(self, claim: Claim) -> Next | None:
        """Return what is next, or None if the webhook is not to be sent to any more."""
        row = await self._run.one(self._look, **claim.parameters)
        return None if row is None else Next(_receiver(row), row["epoch"], _work(row, claim))

    async def freeze(self, claim: Claim, fresh: Fresh, message_id: str, body: bytes) -> Frozen | None:
        """Write a message down before it is sent; one that is there already keeps its body. None if the claim is lost.

        Raises:
            asyncpg.ForeignKeyViolationError: The webhook is deleted in this moment.
        """
        era, xid, event_id = fresh.position
        row = await self._run.one(
            FREEZE,
            **claim.parameters,
            message_id=message_id,
            type=fresh.event.type,
            era=era,
            xid=str(xid),
            event_id=event_id,
            body=body,
        )
        if row is None:
            return None
        return Frozen(row["id"], message_id, row["body"], 0, row["tried_since"], is_head=True, is_test=False)

    async def record(self, claim: Claim, frozen: Frozen, attempt: Attempt, outcome: Outcome) -> bool | None:
        """Write down how an attempt went, and return whether the webhook fails; None if the claim is lost."""
        row = await self._run.one(
            RECORD,
            **claim.parameters,
            delivery_id=frozen.delivery_id,
            moves=frozen.is_head and outcome.state is not DeliveryState.PENDING,
            accepted=outcome.state is DeliveryState.DELIVERED,
            parks=outcome.parks,
            fails=not frozen.is_test,
            disabled=outcome.disabled,
            state=outcome.state,
            delay=outcome.delay_seconds,
            status=attempt.status,
            error=attempt.error,
            answer=attempt.answer,
        )
        return None if row is None else bool(row["is_failing"])

    async def pass_by(self, claim: Claim, position: Position) -> bool:
        """Move past events that are of no interest; return whether the claim is still there."""
        era, xid, event_id = position
        row = await self._run.one(PASS_BY, **claim.parameters, era=era, xid=str(xid), event_id=event_id)
        return row is not None

    async def release(self, claim: Claim) -> None:
        """Let the webhook go, unless the claim is lost."""
        await self._run.all(RELEASE, **claim.parameters)


def _receiver(row: asyncpg.Record) -> Receiver:
    return Receiver(row["url"], row["generation"], row["signs_previous"], row["failing_since"], row["now"])


def _work(row: asyncpg.Record, claim: Claim) -> Frozen | Fresh | Position | None:
    if row["delivery_id"] is not None:
        return Frozen(
            row["delivery_id"],
            row["message_id"],
            row["body"],
            row["attempts"],
            row["tried_since"],
            is_head=row["is_head"],
            is_test=row["is_test"],
        )
    if row["event_id"] is not None:
        event = EventOfMessage(
            claim.project_id,
            row["actor_id"],
            row["created_at"],
            row["entity"],
            row["entity_id"],
            row["version"],
            row["action"],
            row["changes"],
            row["row"],
        )
        return Fresh(event, Position(row["era"], row["xid"], row["event_id"]))
    if row["last_event_id"] is not None:
        return Position(row["last_era"], row["last_xid"], row["last_event_id"])
    return None
