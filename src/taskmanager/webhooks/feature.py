"""Webhooks: what happens in a project is sent to the receivers that its owners name."""

from fastapi import FastAPI

from taskmanager.features import Feature
from taskmanager.webhooks.claims import Claims
from taskmanager.webhooks.delivery_routes import router as deliveries_router
from taskmanager.webhooks.dependencies import WebhookRules, get_webhook_rules
from taskmanager.webhooks.guard import THREADS_OF_REQUESTS, Resolver, TargetGuard
from taskmanager.webhooks.retention import JOBS
from taskmanager.webhooks.routes import router
from taskmanager.webhooks.sender import WebhookSender
from taskmanager.webhooks.signatures import SecretMaker


def prepare(app: FastAPI) -> None:
    """Give the application its rules for webhooks, its sender, and their metrics."""
    state = app.state
    entities = [entity for feature in state.features for entity in feature.entities]
    guard = TargetGuard(state.settings)
    # Look-ups for requests are not in the way of those for what is sent.
    checks = TargetGuard(state.settings, Resolver(THREADS_OF_REQUESTS))
    secrets = SecretMaker(state.settings.signing_secrets)
    state.webhook_rules = WebhookRules(checks, secrets, state.epochs, [entity.name for entity in entities])
    state.webhook_sender = sender = WebhookSender(Claims(state.writes, entities), state.epochs, guard, secrets)
    state.writes.on_commit.append(sender.notice_commit)
    state.drain.on_start.append(sender.stop)
    state.metrics.watch_gauge("webhooks_sending", "Webhooks that are being sent to.", lambda: sender.sending)
    state.metrics.watch_counters(
        "webhook_attempts", "Attempts to send a message, by what became of it.", lambda: sender.counts, label="outcome"
    )


async def send_webhooks(app: FastAPI) -> None:
    """Send what is due, as long as the application runs."""
    if app.state.settings.webhooks_enabled:
        await app.state.webhook_sender.run()


FEATURE = Feature(
    routers=(router, deliveries_router),
    prepare=prepare,
    provides={get_webhook_rules: "webhook_rules"},
    background=(send_webhooks,),
    jobs=JOBS,
)
