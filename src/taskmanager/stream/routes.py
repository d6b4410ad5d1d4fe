"""The routes of the live stream, and of the tickets that open it in a browser."""

import secrets
from typing import Annotated, Any

from fastapi import Header, Query

from taskmanager.accounts.dependencies import UnkeptWriting
from taskmanager.errors import InvalidValueError, NotAcceptableError
from taskmanager.http.answers import JsonAnswer, json_answer
from taskmanager.http.problems import problems
from taskmanager.http.routing import api_router
from taskmanager.stream.answer import EventStream
from taskmanager.stream.dependencies import StreamReader, Streams, TicketBuyer
from taskmanager.stream.repository import Tickets
from taskmanager.stream.rights import Filters
from taskmanager.stream.schemas import StreamQuery, Ticket
from taskmanager.stream.statements import TICKET_SECONDS

_TAKEN = {"text/event-stream", "text/*", "*/*"}

_FRAME = {
    "type": "object",
    "description": "An event; `retry` stands alone, and so does the `id` of a place without an event.",
    "properties": {
        "id": {"type": "string", "description": "The cursor behind the event."},
        "event": {"type": "string", "description": "Such as `task.updated`, or `ready`, `reset` and `bye`."},
        "data": {"type": "string", "description": "A JSON object."},
        "retry": {"type": "integer", "description": "After how many milliseconds to come back."},
    },
}
_FRAMES: dict[int | str, dict[str, Any]] = {200: {"content": {EventStream.media_type: {"schema": _FRAME}}}}

router = api_router("/events", tag="changes")


@router.get(
    "",
    status_code=200,
    response_class=EventStream,
    responses={**_FRAMES, **problems(400, 401, 403, 404, 406, 410, 422, 429, 501, 503)},
)
async def follow_events(
    caller: StreamReader,
    query: Annotated[StreamQuery, Query()],
    streams: Streams,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
    last_event_id: Annotated[
        str, Header(alias="Last-Event-ID", description="The `id` of the last event that the client has got.")
    ] = "",
) -> EventStream:
    """Send what happens in the caller's projects, as server-sent events, from an event on or from now on.

    Each event has the row as it is now; `ready` says that everything missed has been sent.
    """
    if accept and not any(part.partition(";")[0].strip().lower() in _TAKEN for part in accept.split(",")):
        raise NotAcceptableError(EventStream.media_type)
    if not set(query.entity) <= set(streams.entities):
        raise InvalidValueError(("query", "entity"), f"must be of {', '.join(streams.entities)}", "enum")
    filters = Filters(caller.user_id, query.project_id, query.entity)
    return EventStream(streams, caller, filters, last_event_id or query.last_event_id or None)


@router.post("/ticket", response_model=Ticket, responses=problems(400, 401, 403, 422, 429, 503))
async def create_stream_ticket(caller: TicketBuyer, write: UnkeptWriting) -> JsonAnswer:
    """Return a ticket that opens one stream in place of a credential: `GET /events?ticket=`."""
    secret = secrets.token_urlsafe(32)
    await Tickets(write).create(secret, caller)
    return json_answer(Ticket(ticket=secret, expires_in=TICKET_SECONDS))
