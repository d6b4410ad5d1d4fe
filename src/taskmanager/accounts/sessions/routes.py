"""Routes of logins."""

from typing import Annotated

from fastapi import Path

from taskmanager.accounts.dependencies import AccountUser, Writing
from taskmanager.accounts.schemas import SessionList
from taskmanager.accounts.sessions.repository import SessionReader, SessionWriter
from taskmanager.field_types import WrittenId
from taskmanager.http.answers import JsonAnswer, NoContent, answer_removal
from taskmanager.http.dependencies import AppReads, AppSettings, PageOf, Paging
from taskmanager.http.problems import problems
from taskmanager.http.routing import api_router

SessionId = Annotated[WrittenId, Path()]

_READ = problems(400, 401, 403, 422, 429, 503)
_DELETE = problems(400, 401, 403, 404, 409, 422, 429, 503)

router = api_router("", tag="accounts")


@router.get("/users/me/sessions", response_model=SessionList, responses=_READ)
async def list_sessions(
    caller: AccountUser, query: PageOf, reads: AppReads, paging: Paging, settings: AppSettings
) -> JsonAnswer:
    """Return the caller's logins, newest first."""
    binding = f"sessions {caller.user_id}"
    page = paging.start(query, binding)
    found = await SessionReader(reads).list_page(
        page, user_id=caller.user_id, current_id=caller.session_id, idle_days=settings.refresh_token_days
    )
    return paging.answer("sessions", found, query.limit, binding)


@router.delete("/users/me/sessions/{session_id}", status_code=204, responses=_DELETE)
async def revoke_session(caller: AccountUser, session_id: SessionId, write: Writing) -> NoContent:
    """End one of the caller's logins."""
    return await answer_removal(write, SessionWriter(write).revoke(session_id, user_id=caller.user_id))
