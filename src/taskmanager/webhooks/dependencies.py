"""What the routes of webhooks ask for."""

from collections.abc import Awaitable, Collection, Sequence
from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic_core import from_json

from taskmanager.accounts.request_writes import RequestWrites
from taskmanager.database.writes import Written
from taskmanager.errors import InvalidValueError
from taskmanager.following.epochs import Epochs
from taskmanager.following.positions import Position
from taskmanager.http.answers import JsonAnswer, answer_write
from taskmanager.idempotency.kept_answers import AlreadyAnsweredError, KeptAnswer
from taskmanager.roles import Role
from taskmanager.webhooks.guard import TargetGuard
from taskmanager.webhooks.signatures import SecretMaker, SecretName
from taskmanager.webhooks.targets import UnacceptableTargetError


class WebhookRules:
    """What makes values of requests good, and the secrets that go into answers."""

    def __init__(self, guard: TargetGuard, secrets: SecretMaker, epochs: Epochs, entities: Collection[str]) -> None:
        self.secrets = secrets
        self._guard = guard
        self._epochs = epochs
        self._entities = frozenset(entities)

    async def check(self, url: str | None, events: Sequence[str] | None) -> str | None:
        """Check what a request gives of these, and return the host of the URL.

        Raises:
            InvalidValueError: No webhook may be sent there, or nothing of that kind happens.
        """
        for event in events or ():
            if event.partition(".")[0] not in self._entities:
                raise InvalidValueError(("body", "events"), f"must name events of {', '.join(sorted(self._entities))}")
        if url is None:
            return None
        try:
            target = self._guard.read(url)
            await self._guard.check(url)
        except UnacceptableTargetError as error:
            raise InvalidValueError(("body", "url"), str(error)) from None
        return target.host

    async def position(self, cursor: str) -> Position:
        """Return the position of the log that a cursor names.

        Raises:
            InvalidCursorError: It was bent.
            CursorExpiredError: It belongs to another epoch.
        """
        return (await self._epochs.of_cursor(cursor)).read(cursor)

    async def answer_with_secret(
        self, write: RequestWrites, work: Awaitable[Written], *, status: int = 200, location: str | None = None
    ) -> JsonAnswer:
        """Return the answer to a write with the webhook's secret, which is made anew where the answer was kept.

        Raises:
            AlreadyAnsweredError: The request was answered before.
        """
        try:
            answer = await answer_write(write, work, status=status, location=location, role=Role.OWNER)
        except AlreadyAnsweredError as known:
            kept = known.answer
            raise AlreadyAnsweredError(KeptAnswer(kept.status, kept.headers, self._with_secret(kept.body))) from None
        where = dict(answer.raw_headers).get(b"location")
        body = self._with_secret(bytes(answer.body))
        return JsonAnswer(body, status=status, location=None if where is None else where.decode())

    def _with_secret(self, body: bytes) -> bytes:
        webhook: dict[str, Any] = from_json(body)
        name = SecretName(webhook["project_id"], webhook["id"], webhook["secret_generation"])
        return b'%b,"secret":"%b"}' % (body[:-1], self.secrets.secret(name).encode())


async def get_webhook_rules(request: Request) -> WebhookRules:
    """Return the application's rules for webhooks."""
    rules: WebhookRules = request.app.state.webhook_rules
    return rules


Rules = Annotated[WebhookRules, Depends(get_webhook_rules)]
