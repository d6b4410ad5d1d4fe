"""Routes of the messages of a webhook; owners only."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

from fastapi import Path

from taskmanager.accounts.dependencies import ProjectsReader, ProjectsWriter, Writing
from taskmanager.field_types import WrittenId
from taskmanager.http.answers import JsonAnswer, answer_write
from taskmanager.http.dependencies import AppReads, PageOf, Paging
from taskmanager.http.problems import problems
from taskmanager.http.routing import api_router
from taskmanager.projects.routes import ProjectId
from taskmanager.roles import Role
from taskmanager.webhooks.deliveries import DeliveryReader, DeliveryWriter
from taskmanager.webhooks.messages import write_test
from taskmanager.webhooks.routes import WebhookId
from taskmanager.webhooks.schemas import DeliveryDetail, DeliveryList, DeliveryRead

DeliveryId = Annotated[WrittenId, Path()]

router = api_router("/projects/{project_id}/webhooks/{webhook_id}", tag="webhooks")


@router.post(
    "/test",
    status_code=202,
    response_model=DeliveryRead,
    responses=problems(400, 401, 403, 404, 409, 422, 429, 503),
)
async def send_test_message(
    caller: ProjectsWriter, project_id: ProjectId, webhook_id: WebhookId, write: Writing
) -> JsonAnswer:
    """Have a message of the type `webhook.test` sent, once."""
    body = write_test(project_id, webhook_id, datetime.now(UTC))
    message_id = f"msg_{webhook_id}_test_{uuid4().hex}"
    work = DeliveryWriter(write).test(project_id, webhook_id, message_id, body, user_id=caller.user_id)
    return await answer_write(write, work, status=202, role=Role.OWNER)


@router.get("/deliveries", response_model=DeliveryList, responses=problems(400, 401, 403, 404, 422, 429, 503))
async def list_deliveries(
    caller: ProjectsReader,
    project_id: ProjectId,
    webhook_id: WebhookId,
    query: PageOf,
    reads: AppReads,
    paging: Paging,
) -> JsonAnswer:
    """Return the messages of a webhook, newest first."""
    binding = f"deliveries {project_id} {webhook_id} {caller.user_id}"
    page = paging.start(query, binding)
    found = await DeliveryReader(reads).list_page(project_id, webhook_id, page, user_id=caller.user_id)
    return paging.answer("deliveries", found, query.limit, binding)


@router.get(
    "/deliveries/{delivery_id}",
    response_model=DeliveryDetail,
    responses=problems(400, 401, 403, 404, 422, 429, 503),
)
async def read_delivery(
    caller: ProjectsReader, project_id: ProjectId, webhook_id: WebhookId, delivery_id: DeliveryId, reads: AppReads
) -> JsonAnswer:
    """Return a message with its body and the last answer to it."""
    found = await DeliveryReader(reads).find(project_id, webhook_id, delivery_id, user_id=caller.user_id)
    return JsonAnswer(found)


@router.post(
    "/deliveries/{delivery_id}/redeliver",
    status_code=202,
    response_model=DeliveryRead,
    responses=problems(400, 401, 403, 404, 409, 410, 422, 429, 503),
)
async def redeliver_message(
    caller: ProjectsWriter, project_id: ProjectId, webhook_id: WebhookId, delivery_id: DeliveryId, write: Writing
) -> JsonAnswer:
    """Have a message sent again now, with the same id and body."""
    work = DeliveryWriter(write).redeliver(project_id, webhook_id, delivery_id, user_id=caller.user_id)
    return await answer_write(write, work, status=202, role=Role.OWNER)
