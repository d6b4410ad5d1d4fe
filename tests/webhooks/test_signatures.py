"""Signatures, as the package `standardwebhooks` verifies them, through both kinds of rotation."""

from collections.abc import Sequence

import pytest
from fastapi import FastAPI
from standardwebhooks import Webhook, WebhookVerificationError

from taskmanager.database.database import Database
from taskmanager.main import create_app
from taskmanager.webhooks.signatures import SecretMaker
from tests.conftest import SECRET, Person, make_settings
from tests.support.applications import started
from tests.support.rows import dump
from tests.support.webhook_receivers import Received, Receiver, until
from tests.support.webhooks import new_hook, pass_time, sending

OTHER = b"another secret of the service, of 32 bytes"


def accepts(secret: str, request: Received) -> bool:
    try:
        return bool(Webhook(secret).verify(request.body, request.headers)) or True
    except WebhookVerificationError:
        return False


async def sent(app: FastAPI, alice: Person, project_id: int, receiver: Receiver, *keys: bytes) -> Received:
    """Return what is sent with these secrets of the service, the first of which is the current one."""
    before = len(receiver.received)
    async with sending(app, secrets=SecretMaker(keys or (SECRET.encode(),))):
        await alice.new_task(project_id)
        await until(lambda: len(receiver.received) == before + 1)
    return receiver.received[-1]


async def test_a_message_verifies_and_a_changed_one_does_not(alice: Person, app: FastAPI, receiver: Receiver) -> None:
    hook = await new_hook(alice, await alice.new_project(), receiver.url)
    request = await sent(app, alice, hook.project_id, receiver)
    assert hook.secret.startswith("whsec_")
    assert accepts(hook.secret, request)
    changes: Sequence[Received] = (
        Received(request.head, request.headers, request.body + b" "),
        Received(request.head, {**request.headers, "webhook-id": "msg_other"}, request.body),
        Received(request.head, {**request.headers, "webhook-timestamp": "1"}, request.body),
    )
    assert not any(accepts(hook.secret, change) for change in changes)
    other = await new_hook(alice, hook.project_id, receiver.url, enabled=False)
    assert not accepts(other.secret, request)


async def test_rotating_a_secret_takes_a_day(
    alice: Person, app: FastAPI, database: Database, receiver: Receiver
) -> None:
    hook = await new_hook(alice, await alice.new_project(), receiver.url)
    rotated = (await alice.post(f"{hook.path}/rotate-secret", expect=200)).json()
    assert rotated["secret_generation"] == 2
    both = await sent(app, alice, hook.project_id, receiver)
    assert (accepts(hook.secret, both), accepts(rotated["secret"], both)) == (True, True)
    await pass_time(database, hours=24)
    new = await sent(app, alice, hook.project_id, receiver)
    assert (accepts(hook.secret, new), accepts(rotated["secret"], new)) == (False, True)


async def test_rotating_the_services_secret(alice: Person, app: FastAPI, receiver: Receiver) -> None:
    hook = await new_hook(alice, await alice.new_project(), receiver.url)
    old, new = SECRET.encode(), OTHER
    assert accepts(hook.secret, await sent(app, alice, hook.project_id, receiver, new, old))
    assert not accepts(hook.secret, await sent(app, alice, hook.project_id, receiver, new))
    states = {}
    bearer = {"Authorization": f"Bearer {alice.token}"}
    for name, keys in {
        "while both are set": {"secret_key": OTHER.decode(), "secret_key_previous": SECRET},
        "too early": {"secret_key": OTHER.decode()},
    }.items():
        url = app.state.settings.database_url
        other = create_app(make_settings(database_url=url, **keys))
        other.state.token_signer = app.state.token_signer
        async with started(other) as client:
            states[name] = (await client.get(f"/api/v1{hook.path}", headers=bearer)).json()["secret_state"]
            if name == "while both are set":
                answer = await client.post(f"/api/v1{hook.path}/rotate-secret", headers=bearer)
                assert answer.json()["secret_state"] == "current"
                rotated = answer.json()["secret"]
                request = await sent(app, alice, hook.project_id, receiver, new, old)
                assert (accepts(hook.secret, request), accepts(rotated, request)) == (True, True)
                assert accepts(rotated, await sent(app, alice, hook.project_id, receiver, new))
    assert states == {"while both are set": "rotate", "too early": "current"}
    assert (await hook.read())["secret_state"] == "lost"  # here the new key is not known


@pytest.mark.parametrize("action", ["create", "rotate"])
async def test_a_repeated_request_gets_the_same_secret_which_is_stored_nowhere(
    alice: Person, app: FastAPI, database: Database, receiver: Receiver, action: str
) -> None:
    garden = await alice.new_project()
    key = {"Idempotency-Key": "a-key"}
    path, body, status = f"/projects/{garden}/webhooks", {"name": "A hook", "url": receiver.url}, 201
    if action == "rotate":
        path, body, status = f"{(await new_hook(alice, garden, receiver.url)).path}/rotate-secret", None, 200  # type: ignore[assignment]
    first = await alice.post(path, body, status, headers=key)
    again = await alice.post(path, body, status, headers=key)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.content == first.content
    assert again.headers.get("Location") == first.headers.get("Location")
    secret = first.json()["secret"]
    await alice.post(f"/projects/{garden}/webhooks/{first.json()['id']}/rotate-secret", expect=200)
    assert (await alice.post(path, body, status, headers=key)).json()["secret"] == secret
    stored = await dump(database)
    assert secret not in stored
    assert secret.removeprefix("whsec_") not in stored
