"""The route of changes (delta sync)."""

from json.encoder import encode_basestring_ascii as quote
from typing import Annotated

from fastapi import Query

from taskmanager.changes.dependencies import EverythingReader, Feed
from taskmanager.changes.repository import Filters
from taskmanager.changes.schemas import ChangesPage, ChangesQuery
from taskmanager.http.answers import JsonAnswer
from taskmanager.http.dependencies import AppReads
from taskmanager.http.problems import problems
from taskmanager.http.routing import api_router

router = api_router("/changes", tag="changes")


@router.get("", response_model=ChangesPage, responses=problems(400, 401, 403, 410, 422, 429, 503))
async def list_changes(
    caller: EverythingReader, query: Annotated[ChangesQuery, Query()], reads: AppReads, feed: Feed
) -> JsonAnswer:
    """Return what has changed since a cursor, or without one everything that the caller sees, page by page.

    Things come as they are now, or as gone, in the order in which to apply them.
    """
    filters = Filters(caller.user_id, tuple(query.project_id), tuple(query.entity))
    found = await feed.page(reads, query.since, query.limit, filters, wait_seconds=query.wait)
    tail = f'],"cursor":{quote(found.cursor)},"has_more":{"true" if found.has_more else "false"}}}'
    return JsonAnswer(b'{"changes":[%b%b' % (found.items, tail.encode()))
