"""The shortcuts of tasks: create and update, for callers with an access token."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.types import Scope

from taskmanager.accounts.tokens import AccessClaims, TokenSigner
from taskmanager.database.sharing import Ticket
from taskmanager.errors import InvalidTokenError, MalformedHeaderError
from taskmanager.http.preconditions import NO_CONDITION, IfMatch, etag, read_if_match
from taskmanager.http.routing import API_PREFIX
from taskmanager.shortcuts import Shortcut, ShortcutAnswer, ShortcutRequest
from taskmanager.tasks.schemas import TaskCreate, TaskCreateAnywhere, TaskUpdate
from taskmanager.tasks.shared_repository import ChangedTask, NewTask, SharedTasks, StoredTask

_B = TypeVar("_B", TaskCreate, TaskUpdate)
_PATH = re.compile(rf"{API_PREFIX}(?:/projects/([1-9][0-9]{{0,14}}))?/tasks(?:/([1-9][0-9]{{0,14}}))?", re.ASCII)
_BEARER = b"Bearer "
_JSON = b"application/json"
_READ_HEADERS = frozenset({b"authorization", b"content-length", b"content-type", b"origin"})
_UPDATE_HEADERS = _READ_HEADERS | {b"if-match"}


class TaskShortcuts:
    """Finds the shortcut of a request, and answers by statements that requests share."""

    def __init__(
        self,
        tasks: SharedTasks,
        *,
        token_signer: TokenSigner,
        require_if_match: bool,
        route: Callable[[str, str], Any],
    ) -> None:
        self._tasks = tasks
        self._token_signer = token_signer
        self._require_if_match = require_if_match
        self._shortcuts: dict[tuple[str, bool, bool], Shortcut[AccessClaims]] = {}
        for in_project, base in ((False, f"{API_PREFIX}/tasks"), (True, f"{API_PREFIX}/projects/{{project_id}}/tasks")):
            one = f"{base}/{{task_id}}"
            for method, path, answer, headers in (
                ("POST", base, self._create, _READ_HEADERS),
                ("PUT", one, self._update, _UPDATE_HEADERS),
                ("PATCH", one, self._update, _UPDATE_HEADERS),
            ):
                self._shortcuts[method, in_project, path is one] = Shortcut(answer, headers, route(method, path))

    def find(self, scope: Scope) -> Shortcut[AccessClaims] | None:
        """Return the shortcut of a request by its method and path, if there is one."""
        match = _PATH.fullmatch(scope["path"])
        if match is None:
            return None
        project_id, task_id = match.groups()
        scope["path_ids"] = (project_id and int(project_id), task_id and int(task_id))
        return self._shortcuts.get((scope["method"], project_id is not None, task_id is not None))

    def identify(self, credential: bytes) -> tuple[int, AccessClaims] | None:
        """Return the user's id and the claims of an access token, whose login is yet to be looked up."""
        if not credential.startswith(_BEARER):
            return None
        try:
            claims = self._token_signer.read_access_token(credential[len(_BEARER) :].decode("latin-1"))
        except InvalidTokenError:
            return None
        return claims.user_id, claims

    async def _create(self, request: ShortcutRequest[AccessClaims]) -> ShortcutAnswer | None:
        project_id, _ = request.scope["path_ids"]
        if request.scope["query_string"]:
            return None
        new = await _read_body(request, TaskCreateAnywhere if project_id is None else TaskCreate)
        if new is None or new.assignee_id is not None:  # who assigns may have to wait for somebody's removal
            return None
        if isinstance(new, TaskCreateAnywhere):
            project_id = new.project_id
        ticket = self._tasks.creations.enqueue(
            NewTask(request.caller, project_id, new.model_dump_json(exclude={"project_id"}))
        )
        answer = await _told(request, ticket)
        if answer is not None and (task := ticket.answer.result()) is not None:
            answer.status = 201
            answer.headers.append((b"location", f"{API_PREFIX}/tasks/{task.id}".encode()))
        return answer

    async def _update(self, request: ShortcutRequest[AccessClaims]) -> ShortcutAnswer | None:
        project_id, task_id = request.scope["path_ids"]
        if request.scope["query_string"]:
            return None
        condition = self._condition(request)
        changes = await _read_body(request, TaskUpdate)
        if condition is None or changes is None or "project_id" in changes.model_fields_set:
            return None
        if changes.assignee_id is not None:
            return None
        patch = changes.model_dump_json(exclude_unset=True)
        ticket = self._tasks.changes.enqueue(
            ChangedTask(request.caller, task_id, project_id, patch, condition.versions)
        )
        return await _told(request, ticket)

    def _condition(self, request: ShortcutRequest[AccessClaims]) -> IfMatch | None:
        given = request.headers.get(b"if-match")
        if given is None:
            return None if self._require_if_match else NO_CONDITION
        try:
            return read_if_match(given.decode("latin-1"))
        except MalformedHeaderError:
            return None


async def _told(request: ShortcutRequest[AccessClaims], ticket: Ticket[Any, StoredTask]) -> ShortcutAnswer | None:
    try:
        task = await ticket.answer
    finally:
        request.timings.pool += ticket.waited
        request.timings.database += ticket.took
    if task is None:
        return None
    return ShortcutAnswer(task.json, [(b"etag", etag(task.version).encode())])


async def _read_body(request: ShortcutRequest[AccessClaims], kind: type[_B]) -> _B | None:
    if request.headers.get(b"content-type", b"").partition(b";")[0].strip().lower() != _JSON:
        return None
    body = await request.body()
    if body is None:
        return None
    # pydantic takes these for numbers, and may never look at what they are given for.
    if b"NaN" in body or b"Infinity" in body:
        return None
    try:
        return kind.model_validate_json(body)
    except ValidationError:
        return None
