"""Routes of comments, under their task."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from taskmanager.accounts.dependencies import TasksReader, TasksWriter
from taskmanager.comments.repository import CommentReader, CommentWriter
from taskmanager.comments.schemas import CommentList, CommentRead, CommentText
from taskmanager.dependencies import Condition, IdempotentTransaction, Known, PageOf, Paging, Reader, Transaction
from taskmanager.field_types import WrittenId
from taskmanager.preconditions import etag
from taskmanager.problems import problems
from taskmanager.projects.roles import Role
from taskmanager.routing import StrictRoute, not_modified
from taskmanager.tasks.routes import TaskId

CommentId = Annotated[WrittenId, Path()]

_UPDATE = problems(400, 401, 403, 404, 409, 412, 413, 415, 422, 428, 429, 503)

router = APIRouter(prefix="/tasks/{task_id}/comments", route_class=StrictRoute, tags=["comments"])


@router.get("", responses=problems(400, 401, 403, 404, 422, 429, 503))
async def list_comments(
    caller: TasksReader, task_id: TaskId, query: PageOf, reader: Reader, paging: Paging
) -> CommentList:
    """Return the comments of a task, oldest first."""
    binding = f"comments {task_id} {caller.user_id}"
    page = paging.start(query, binding)
    rows = await CommentReader(reader).list_page(task_id, page, user_id=caller.user_id)
    comments, cursor = paging.finish(rows, page, binding, key=lambda comment: (comment.created_at, comment.id))
    return CommentList(comments=comments, next_cursor=cursor)


@router.post("", status_code=201, responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503))
async def create_comment(
    caller: TasksWriter, task_id: TaskId, new: CommentText, write: IdempotentTransaction, response: Response
) -> CommentRead:
    """Comment on a task; @username tells that member of it."""
    comment = await CommentWriter(write.session).create(task_id, new.body, user_id=caller.user_id)
    write.allow_replay(comment.project_id, Role.EDITOR)
    response.headers["ETag"] = etag(comment.version)
    response.headers["Location"] = f"/api/v1/tasks/{task_id}/comments/{comment.id}"
    return comment


@router.get("/{comment_id}", response_model=CommentRead, responses=problems(304, 400, 401, 403, 404, 422, 429, 503))
async def read_comment(
    caller: TasksReader, task_id: TaskId, comment_id: CommentId, reader: Reader, known: Known, response: Response
) -> CommentRead | Response:
    """Return a comment; with If-None-Match only if it is not the version that the client has."""
    comment = await CommentReader(reader).find(comment_id, task_id=task_id, user_id=caller.user_id)
    if known.given and known.include(comment.version):
        return not_modified(comment.version)
    response.headers["ETag"] = etag(comment.version)
    return comment


@router.put("/{comment_id}", responses=_UPDATE)
@router.patch("/{comment_id}", responses=_UPDATE)
async def update_comment(
    caller: TasksWriter,
    task_id: TaskId,
    comment_id: CommentId,
    changed: CommentText,
    transaction: Transaction,
    condition: Condition,
    response: Response,
) -> CommentRead:
    """Change a comment's text; its author and the project's owners may."""
    comment = await CommentWriter(transaction).update(
        comment_id, changed.body, task_id=task_id, user_id=caller.user_id, condition=condition
    )
    response.headers["ETag"] = etag(comment.version)
    return comment


@router.delete("/{comment_id}", status_code=204, responses=problems(400, 401, 403, 404, 409, 412, 422, 428, 429, 503))
async def delete_comment(
    caller: TasksWriter, task_id: TaskId, comment_id: CommentId, transaction: Transaction, condition: Condition
) -> None:
    """Delete a comment; its author and the project's owners may."""
    await CommentWriter(transaction).delete(comment_id, task_id=task_id, user_id=caller.user_id, condition=condition)
