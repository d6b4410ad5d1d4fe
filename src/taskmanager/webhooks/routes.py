"""Routes of webhooks, under their project; owners only."""

from typing import Annotated

from fastapi import Path

from taskmanager.accounts.dependencies import ProjectsReader, ProjectsWriter, Writing
from taskmanager.field_types import WrittenId
from taskmanager.http.answers import JsonAnswer, NoContent, answer_removal, answer_write
from taskmanager.http.dependencies import AppReads, PageOf, Paging
from taskmanager.http.problems import problems
from taskmanager.http.routing import API_PREFIX, api_router
from taskmanager.projects.routes import ProjectId
from taskmanager.roles import Role
from taskmanager.webhooks.dependencies import Rules
from taskmanager.webhooks.repository import WebhookReader, WebhookWriter
from taskmanager.webhooks.schemas import (
    Replay,
    WebhookCreate,
    WebhookList,
    WebhookRead,
    WebhookUpdate,
    WebhookWithSecret,
)

WebhookId = Annotated[WrittenId, Path()]

router = api_router("/projects/{project_id}/webhooks", tag="webhooks")


@router.get("", response_model=WebhookList, responses=problems(400, 401, 403, 404, 422, 429, 503))
async def list_webhooks(
    caller: ProjectsReader, project_id: ProjectId, query: PageOf, reads: AppReads, paging: Paging, rules: Rules
) -> JsonAnswer:
    """Return the webhooks of a project, oldest first."""
    binding = f"webhooks {project_id} {caller.user_id}"
    page = paging.start(query, binding)
    found = await WebhookReader(reads, rules.secrets).list_page(project_id, page, user_id=caller.user_id)
    return paging.answer("webhooks", found, query.limit, binding)


@router.post(
    "",
    status_code=201,
    response_model=WebhookWithSecret,
    responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
)
async def create_webhook(
    caller: ProjectsWriter, project_id: ProjectId, new: WebhookCreate, write: Writing, rules: Rules
) -> JsonAnswer:
    """Create a webhook, which is sent what happens from now on; its secret is shown in this answer only."""
    host = await rules.check(new.url, new.events)
    work = WebhookWriter(write, rules.secrets).create(project_id, new, host or "", user_id=caller.user_id)
    location = f"{API_PREFIX}/projects/{project_id}/webhooks/"
    return await rules.answer_with_secret(write, work, status=201, location=location)


@router.get("/{webhook_id}", response_model=WebhookRead, responses=problems(400, 401, 403, 404, 422, 429, 503))
async def read_webhook(
    caller: ProjectsReader, project_id: ProjectId, webhook_id: WebhookId, reads: AppReads, rules: Rules
) -> JsonAnswer:
    """Return a webhook."""
    webhooks = WebhookReader(reads, rules.secrets)
    return JsonAnswer(await webhooks.find(project_id, webhook_id, user_id=caller.user_id))


@router.patch(
    "/{webhook_id}",
    response_model=WebhookRead,
    responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
)
async def update_webhook(
    caller: ProjectsWriter,
    project_id: ProjectId,
    webhook_id: WebhookId,
    changes: WebhookUpdate,
    write: Writing,
    rules: Rules,
) -> JsonAnswer:
    """Change a webhook; one that is enabled again goes on where it stopped."""
    given = changes.model_fields_set
    host = await rules.check(changes.url if "url" in given else None, changes.events if "events" in given else None)
    work = WebhookWriter(write, rules.secrets).update(project_id, webhook_id, changes, host, user_id=caller.user_id)
    return await answer_write(write, work, role=Role.OWNER)


@router.delete("/{webhook_id}", status_code=204, responses=problems(400, 401, 403, 404, 409, 422, 429, 503))
async def delete_webhook(
    caller: ProjectsWriter, project_id: ProjectId, webhook_id: WebhookId, write: Writing, rules: Rules
) -> NoContent:
    """Delete a webhook with its messages."""
    work = WebhookWriter(write, rules.secrets).delete(project_id, webhook_id, user_id=caller.user_id)
    return await answer_removal(write, work)


@router.post(
    "/{webhook_id}/rotate-secret",
    response_model=WebhookWithSecret,
    responses=problems(400, 401, 403, 404, 409, 422, 429, 503),
)
async def rotate_webhook_secret(
    caller: ProjectsWriter, project_id: ProjectId, webhook_id: WebhookId, write: Writing, rules: Rules
) -> JsonAnswer:
    """Give a webhook another secret, shown in this answer only; the one before signs for 24 hours as well."""
    work = WebhookWriter(write, rules.secrets).rotate(project_id, webhook_id, user_id=caller.user_id)
    return await rules.answer_with_secret(write, work)


@router.post(
    "/{webhook_id}/replay",
    status_code=202,
    response_model=WebhookRead,
    responses=problems(400, 401, 403, 404, 409, 410, 413, 415, 422, 429, 503),
)
async def replay_webhook(
    caller: ProjectsWriter,
    project_id: ProjectId,
    webhook_id: WebhookId,
    replay: Replay,
    write: Writing,
    rules: Rules,
) -> JsonAnswer:
    """Have everything that happened after a cursor sent again, in order, before what is new."""
    position = await rules.position(replay.since)
    work = WebhookWriter(write, rules.secrets).replay(project_id, webhook_id, position, user_id=caller.user_id)
    return await answer_write(write, work, status=202, role=Role.OWNER)
