"""Routes of comments, under their task."""

from functools import partial
from typing import Annotated

from fastapi import Path, Response

from taskmanager.accounts.dependencies import TasksReader, TasksWriter, Writing
from taskmanager.comments.repository import CommentReader, CommentWriter
from taskmanager.comments.schemas import CommentAnswer, CommentList, CommentRead, CommentText
from taskmanager.field_types import WrittenId
from taskmanager.http.answers import JsonAnswer, NoContent, answer_removal, answer_write
from taskmanager.http.dependencies import AppReads, Condition, Known, Paging
from taskmanager.http.problems import problems
from taskmanager.http.routing import API_PREFIX, api_router
from taskmanager.people.dependencies import IncludePageOf, Includes
from taskmanager.roles import Role
from taskmanager.tasks.routes import TaskId

CommentId = Annotated[WrittenId, Path()]

_CREATE = problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503)
_UPDATE = problems(400, 401, 403, 404, 409, 412, 413, 415, 422, 428, 429, 503)

router = api_router("/tasks/{task_id}/comments", tag="comments")


@router.get("", response_model=CommentList, responses=problems(400, 401, 403, 404, 422, 429, 503))
async def list_comments(
    caller: TasksReader, task_id: TaskId, query: IncludePageOf, reads: AppReads, paging: Paging
) -> JsonAnswer:
    """Return the comments of a task, oldest first."""
    binding = f"comments {task_id} {caller.user_id}"
    page = paging.start(query, binding)
    found = await CommentReader(reads).list_page(task_id, page, user_id=caller.user_id, with_people=query.with_people)
    return paging.answer("comments", found, query.limit, binding)


@router.post(
    "",
    status_code=201,
    response_model=CommentRead,
    responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 429, 503),
)
async def create_comment(caller: TasksWriter, task_id: TaskId, new: CommentText, write: Writing) -> JsonAnswer:
    """Comment on a task; @username notifies that member."""
    work = CommentWriter(write).create(task_id, new.body, user_id=caller.user_id)
    return await answer_write(
        write, work, status=201, location=f"{API_PREFIX}/tasks/{task_id}/comments/", role=Role.EDITOR
    )


@router.get("/{comment_id}", response_model=CommentAnswer, responses=problems(304, 400, 401, 403, 404, 422, 429, 503))
async def read_comment(
    caller: TasksReader, task_id: TaskId, comment_id: CommentId, query: Includes, reads: AppReads, known: Known
) -> Response:
    """Return a comment; with If-None-Match only if it is not the version that the client has."""
    comments = CommentReader(reads)
    return await known.answer(
        partial(comments.find, comment_id, task_id=task_id, user_id=caller.user_id, with_people=query.with_people),
        partial(comments.find_version, comment_id, task_id=task_id, user_id=caller.user_id),
        is_named_by_version=not query.include,
    )


@router.put("/{comment_id}", response_model=CommentRead, responses=_UPDATE)
@router.patch("/{comment_id}", response_model=CommentRead, responses=_UPDATE)
async def update_comment(
    caller: TasksWriter,
    task_id: TaskId,
    comment_id: CommentId,
    changed: CommentText,
    write: Writing,
    condition: Condition,
) -> JsonAnswer:
    """Change a comment's text; its author and the project's owners may."""
    work = CommentWriter(write).update(
        comment_id, changed.body, task_id=task_id, user_id=caller.user_id, condition=condition
    )
    return await answer_write(write, work, role=Role.EDITOR)


@router.delete("/{comment_id}", status_code=204, responses=problems(400, 401, 403, 404, 409, 412, 422, 428, 429, 503))
async def delete_comment(
    caller: TasksWriter, task_id: TaskId, comment_id: CommentId, write: Writing, condition: Condition
) -> NoContent:
    """Delete a comment; its author and the project's owners may."""
    work = CommentWriter(write).delete(comment_id, task_id=task_id, user_id=caller.user_id, condition=condition)
    return await answer_removal(write, work)
