"""Routes of the caller's notifications."""

from typing import Annotated

from fastapi import Path, Query

from taskmanager.accounts.dependencies import TasksReader, TasksWriter, Writing
from taskmanager.field_types import WrittenId
from taskmanager.http.answers import JsonAnswer, NoContent, answer_removal
from taskmanager.http.dependencies import AppReads, Paging
from taskmanager.http.problems import problems
from taskmanager.http.routing import api_router
from taskmanager.notifications.repository import NotificationReader, NotificationWriter
from taskmanager.notifications.schemas import NotificationList, NotificationQuery

NotificationId = Annotated[WrittenId, Path()]

router = api_router("/notifications", tag="notifications")


@router.get("", response_model=NotificationList, responses=problems(400, 401, 403, 422, 429, 503))
async def list_notifications(
    caller: TasksReader, query: Annotated[NotificationQuery, Query()], reads: AppReads, paging: Paging
) -> JsonAnswer:
    """Return the caller's notifications, newest first; `unread` counts those that are not read."""
    binding = f"notifications {query.unread} {caller.user_id}{query.archived.in_binding}"
    page = paging.start(query, binding)
    found, unread = await NotificationReader(reads).list_page(
        page,
        user_id=caller.user_id,
        unread=query.unread,
        archived=query.archived.wanted,
        with_people=query.with_people,
    )
    return paging.answer("notifications", found, query.limit, binding, more=f'"unread":{unread},')


@router.post("/read", status_code=204, responses=problems(400, 401, 403, 409, 422, 429, 503))
async def mark_all_read(caller: TasksWriter, write: Writing) -> NoContent:
    """Mark all of the caller's notifications as read."""
    return await answer_removal(write, NotificationWriter(write).mark_all_read(user_id=caller.user_id))


@router.post("/{notification_id}/read", status_code=204, responses=problems(400, 401, 403, 404, 409, 422, 429, 503))
async def mark_read(caller: TasksWriter, notification_id: NotificationId, write: Writing) -> NoContent:
    """Mark one of the caller's notifications as read."""
    work = NotificationWriter(write).mark_read(notification_id, user_id=caller.user_id)
    return await answer_removal(write, work)
