"""The shortcuts of tasks: read one, list the newest, create, update, for callers with an access token."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl

from pydantic import ValidationError
from starlette.types import Scope

from taskmanager.accounts.tokens import AccessClaims, TokenSigner
from taskmanager.database.sharing import Ticket
from taskmanager.errors import InvalidCursorError, InvalidTokenError, MalformedHeaderError
from taskmanager.field_types import MAXIMUM_ID
from taskmanager.pagination import CursorSigner, kept_parameters, next_link
from taskmanager.preconditions import NO_CONDITION, IfMatch, etag, read_if_match
from taskmanager.short_key_cache import cache_short_keys
from taskmanager.shortcuts import Shortcut, ShortcutAnswer, ShortcutRequest
from taskmanager.tasks.list_repository import cursor_binding, list_name
from taskmanager.tasks.schemas import ProjectTaskQuery, TaskCreate, TaskCreateAnywhere, TaskQuery, TaskUpdate
from taskmanager.tasks.shared_repository import ChangedTask, NewTask, PageKey, SharedTasks, StoredTask, TaskKey

_B = TypeVar("_B", TaskCreate, TaskUpdate)
_PATH = re.compile(r"/api/v1(?:/projects/([1-9][0-9]{0,14}))?/tasks(?:/([1-9][0-9]{0,14}))?", re.ASCII)
_BEARER = b"Bearer "
_JSON = b"application/json"
# No task is created later than this or has a higher id: the key in front of the first page.
_AFTER_ALL = (datetime.max.replace(tzinfo=UTC), MAXIMUM_ID)
_PAGE_PARAMETERS = {"limit", "cursor", "count"}
_READ_HEADERS = frozenset({b"authorization", b"content-length", b"content-type", b"origin"})
_UPDATE_HEADERS = _READ_HEADERS | {b"if-match"}


class _PageQuery(NamedTuple):
    limit: int
    cursor: str | None
    counted: bool
    list_name: str
    kept_parameters: str


class TaskShortcuts:
    """Finds the shortcut of a request, and answers by statements that requests share."""

    def __init__(
        self,
        tasks: SharedTasks,
        *,
        token_signer: TokenSigner,
        cursor_signer: CursorSigner,
        require_if_match: bool,
        route: Callable[[str, str], Any],
    ) -> None:
        self._tasks = tasks
        self._token_signer = token_signer
        self._cursor_signer = cursor_signer
        self._require_if_match = require_if_match
        self._shortcuts: dict[tuple[str, bool, bool], Shortcut[AccessClaims]] = {}
        for in_project, base in ((False, "/api/v1/tasks"), (True, "/api/v1/projects/{project_id}/tasks")):
            one = f"{base}/{{task_id}}"
            for method, path, answer, headers in (
                ("GET", base, self._list, _READ_HEADERS),
                ("POST", base, self._create, _READ_HEADERS),
                ("GET", one, self._find, _READ_HEADERS),
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

    async def _find(self, request: ShortcutRequest[AccessClaims]) -> ShortcutAnswer | None:
        project_id, task_id = request.scope["path_ids"]
        if request.scope["query_string"]:
            return None
        ticket = await self._tasks.finds.submit(TaskKey(request.caller, task_id, project_id))
        return _told(request, ticket)

    async def _list(self, request: ShortcutRequest[AccessClaims]) -> ShortcutAnswer | None:
        project_id, _ = request.scope["path_ids"]
        query = _read_page_query(request.scope["query_string"], project_id)
        if query is None:
            return None
        caller = request.caller
        binding = cursor_binding(query.list_name, user_id=caller.user_id)
        after_time, after_id = _AFTER_ALL
        if query.cursor is not None:
            try:
                moment, after_id = self._cursor_signer.read(query.cursor, binding)
            except InvalidCursorError:
                return None
            after_time = datetime.fromisoformat(moment)
        key = PageKey(caller, project_id, after_time, after_id, query.limit + 1)
        ticket = await self._tasks.list_page(key, counted=query.counted)
        if ticket is None:
            return None
        _add_times(request, ticket)
        page = ticket.answer.result()
        if page is None or (project_id is not None and not page.found):
            return None
        headers: list[tuple[bytes, bytes]] = []
        next_cursor = "null"
        if page.found > query.limit:
            cursor = self._cursor_signer.write([page.last_time, page.last_id], binding)
            headers.append((b"link", next_link(request.scope["path"], query.kept_parameters, cursor).encode("latin-1")))
            next_cursor = f'"{cursor}"'
        total = "null" if page.total is None else page.total
        head = f'{{"total":{total},"skip":0,"limit":{query.limit},"tasks":['
        return ShortcutAnswer(b'%b%b],"next_cursor":%b}' % (head.encode(), page.tasks, next_cursor.encode()), headers)

    async def _create(self, request: ShortcutRequest[AccessClaims]) -> ShortcutAnswer | None:
        project_id, _ = request.scope["path_ids"]
        if request.scope["query_string"]:
            return None
        new = await _read_body(request, TaskCreateAnywhere if project_id is None else TaskCreate)
        if new is None or new.assignee_id is not None:  # who assigns may have to wait for somebody's removal
            return None
        if isinstance(new, TaskCreateAnywhere):
            project_id = new.project_id
        ticket = await self._tasks.creations.submit(
            NewTask(request.caller, project_id, new.model_dump_json(exclude={"project_id"}))
        )
        answer = _told(request, ticket)
        if answer is not None and (task := ticket.answer.result()) is not None:
            answer.status = 201
            answer.headers.append((b"location", b"/api/v1/tasks/%d" % task.id))
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
        ticket = await self._tasks.changes.submit(
            ChangedTask(request.caller, task_id, project_id, patch, condition.versions)
        )
        return _told(request, ticket)

    def _condition(self, request: ShortcutRequest[AccessClaims]) -> IfMatch | None:
        given = request.headers.get(b"if-match")
        if given is None:
            return None if self._require_if_match else NO_CONDITION
        try:
            return read_if_match(given.decode("latin-1"))
        except MalformedHeaderError:
            return None


def _told(request: ShortcutRequest[AccessClaims], ticket: Ticket[Any, StoredTask]) -> ShortcutAnswer | None:
    _add_times(request, ticket)
    task = ticket.answer.result()
    if task is None:
        return None
    return ShortcutAnswer(task.json, [(b"etag", etag(task.version).encode())])


def _add_times(request: ShortcutRequest[AccessClaims], ticket: Ticket[Any, Any]) -> None:
    request.timings.pool += ticket.waited
    request.timings.database += ticket.took


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


@cache_short_keys(1_000)
def _read_page_query(query_string: bytes, project_id: int | None) -> _PageQuery | None:
    pairs = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)
    given = dict(pairs)
    if len(given) != len(pairs) or not _PAGE_PARAMETERS.issuperset(given):
        return None
    try:
        query = (TaskQuery if project_id is None else ProjectTaskQuery).model_validate(given)
    except ValidationError:
        return None
    project_ids = [] if project_id is None else [project_id]
    counted = query.count == "exact" or (query.count is None and query.cursor is None)
    return _PageQuery(query.limit, query.cursor, counted, list_name(query, project_ids), kept_parameters(pairs))
