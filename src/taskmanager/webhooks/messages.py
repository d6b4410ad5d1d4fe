"""The JSON documents that webhooks are sent, as bytes."""

from dataclasses import dataclass
from datetime import datetime
from json.encoder import encode_basestring_ascii as quote
from typing import Final

from taskmanager.field_types import format_timestamp

MOST_BYTES: Final = 65_536
TEST_TYPE: Final = "webhook.test"


@dataclass(frozen=True)
class EventOfMessage:
    """An event as a message tells of it; `changes` and `row` are JSON, `row` is None for what is not there now."""

    project_id: int
    actor_id: int | None
    created_at: datetime
    entity: str
    entity_id: int
    version: int
    action: str
    changes: str
    row: str | None

    @property
    def type(self) -> str:
        """The type of the message, such as `task.updated`."""
        return f"{self.entity}.{self.action}"


def write_message(event: EventOfMessage, cursor: str) -> bytes:
    """Return the document of an event, of 64 KiB at most: else without the old and new values, and without the row."""
    for changes, row in ((event.changes, event.row), ("{}", event.row), ("{}", None)):
        is_truncated = (changes, row) != (event.changes, event.row)
        document = _write(event, cursor, changes, row, is_truncated=is_truncated)
        if len(document) <= MOST_BYTES:
            break
    return document


def write_test(project_id: int, webhook_id: int, now: datetime) -> bytes:
    """Return the document of a test."""
    text = (
        f'{{"type":"{TEST_TYPE}","timestamp":"{format_timestamp(now)}",'
        f'"data":{{"project_id":{project_id},"webhook_id":{webhook_id}}}}}'
    )
    return text.encode()


def _write(event: EventOfMessage, cursor: str, changes: str, row: str | None, *, is_truncated: bool) -> bytes:
    actor = "null" if event.actor_id is None else event.actor_id
    text = (
        f'{{"type":{quote(event.type)},"timestamp":"{format_timestamp(event.created_at)}","data":{{'
        f'"project_id":{event.project_id},"actor_id":{actor},"cursor":{quote(cursor)},"entity":{quote(event.entity)},'
        f'"id":{event.entity_id},"version":{event.version},"changes":{changes},'
        f'{quote(event.entity)}:{row or "null"},"truncated":{"true" if is_truncated else "false"}}}}}'
    )
    return text.encode()
