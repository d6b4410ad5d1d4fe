"""Routes of comments, under their task."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from taskmanager.accounts.dependencies import TasksReader, TasksWriter
from taskmanager.comments.repository import CommentReader, CommentWriter
from taskmanager.comments.schemas import CommentList, CommentRead, CommentText
from taskmanager.dependencies import Reader, Transaction
from taskmanager.field_types import WrittenId
from taskmanager.problems import problems
from taskmanager.routing import StrictRoute
from taskmanager.tasks.routes import TaskId

CommentId = Annotated[WrittenId, Path()]

router = APIRouter(prefix="/tasks/{task_id}/comments", route_class=StrictRoute, tags=["comments"])


@router.get("", responses=problems(401, 403, 404, 422, 503))
async def list_comments(caller: TasksReader, task_id: TaskId, reader: Reader) -> CommentList:
    """Return the comments of a task, oldest first."""
    return CommentList(comments=await CommentReader(reader).list_all(task_id, user_id=caller.user_id))


@router.post("", status_code=201, responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 503))
async def create_comment(
    caller: TasksWriter, task_id: TaskId, new: CommentText, transaction: Transaction, response: Response
) -> CommentRead:
    """Comment on a task."""
    comment = await CommentWriter(transaction).create(task_id, new.body, user_id=caller.user_id)
    response.headers["Location"] = f"/api/v1/tasks/{task_id}/comments/{comment.id}"
    return comment


@router.get("/{comment_id}", responses=problems(401, 403, 404, 422, 503))
async def read_comment(caller: TasksReader, task_id: TaskId, comment_id: CommentId, reader: Reader) -> CommentRead:
    """Return a comment."""
    return await CommentReader(reader).find(comment_id, task_id=task_id, user_id=caller.user_id)


@router.put("/{comment_id}", responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 503))
@router.patch("/{comment_id}", responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 503))
async def update_comment(
    caller: TasksWriter, task_id: TaskId, comment_id: CommentId, changed: CommentText, transaction: Transaction
) -> CommentRead:
    """Change a comment's text; its author and the project's owners may."""
    return await CommentWriter(transaction).update(comment_id, changed.body, task_id=task_id, user_id=caller.user_id)


@router.delete("/{comment_id}", status_code=204, responses=problems(401, 403, 404, 409, 422, 503))
async def delete_comment(caller: TasksWriter, task_id: TaskId, comment_id: CommentId, transaction: Transaction) -> None:
    """Delete a comment; its author and the project's owners may."""
    await CommentWriter(transaction).delete(comment_id, task_id=task_id, user_id=caller.user_id)
