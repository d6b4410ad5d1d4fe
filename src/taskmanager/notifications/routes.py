"""Routes of the caller's notifications."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from taskmanager.accounts.dependencies import TasksReader, TasksWriter
from taskmanager.dependencies import IdempotentTransaction, Paging, Reader
from taskmanager.field_types import WrittenId
from taskmanager.notifications.repository import NotificationReader, NotificationWriter
from taskmanager.notifications.schemas import NotificationList, NotificationQuery
from taskmanager.problems import problems
from taskmanager.routing import StrictRoute

NotificationId = Annotated[WrittenId, Path()]

router = APIRouter(prefix="/notifications", route_class=StrictRoute, tags=["notifications"])


@router.get("", responses=problems(400, 401, 403, 422, 429, 503))
async def list_notifications(
    caller: TasksReader, query: Annotated[NotificationQuery, Query()], reader: Reader, paging: Paging
) -> NotificationList:
    """Return the caller's notifications, newest first."""
    binding = f"notifications {query.unread} {caller.user_id}"
    page = paging.start(query, binding)
    notifications = NotificationReader(reader)
    rows = await notifications.list_page(page, user_id=caller.user_id, unread=query.unread)
    shown, cursor = paging.finish(rows, page, binding, key=lambda n: (n.created_at, n.id))
    unread = await notifications.count_unread(user_id=caller.user_id)
    return NotificationList(notifications=shown, unread=unread, next_cursor=cursor)


@router.post("/read", status_code=204, responses=problems(400, 401, 403, 409, 422, 429, 503))
async def mark_all_read(caller: TasksWriter, write: IdempotentTransaction) -> None:
    """Mark all of the caller's notifications as read."""
    await NotificationWriter(write.session).mark_all_read(user_id=caller.user_id)


@router.post("/{notification_id}/read", status_code=204, responses=problems(400, 401, 403, 404, 409, 422, 429, 503))
async def mark_read(caller: TasksWriter, notification_id: NotificationId, write: IdempotentTransaction) -> None:
    """Mark one of the caller's notifications as read."""
    await NotificationWriter(write.session).mark_read(notification_id, user_id=caller.user_id)
