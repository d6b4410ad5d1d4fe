"""Pages by key: a cursor names the last element seen, so that every page costs the same."""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import to_json

from taskmanager.errors import InvalidCursorError
from taskmanager.field_types import DIGITS, RequestModel, format_timestamp
from taskmanager.short_key_cache import cache_short_keys

_CODE_BYTES = 16
# A cursor may hold a title in lower case.
CursorText = Annotated[str, StringConstraints(min_length=1, max_length=4000)]
Limit = Annotated[int, Field(ge=1, le=100), DIGITS]


# Of a list: which page, in which order. What else a query has are filters.
PAGING_PARAMETERS = frozenset({"limit", "skip", "cursor", "sort_by", "order", "count"})


class SortOrder(StrEnum):
    """Which end of a list comes first."""

    ASCENDING = "asc"
    DESCENDING = "desc"


class ListQuery(RequestModel):
    """The query of a list, in which a filter without a value is no filter, as forms and URL builders send it."""

    @model_validator(mode="before")
    @classmethod
    def _drop_empty_filters(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        kept = {}
        for name, value in given.items():
            if name in cls.model_fields and name not in PAGING_PARAMETERS:
                values = [one for one in value if one != ""] if isinstance(value, list) else value
                if values in ("", []):
                    continue
                kept[name] = values
            else:
                kept[name] = value
        return kept


class PageQuery(ListQuery):
    """Which page of a list."""

    limit: Limit = 20
    cursor: CursorText | None = Field(default=None, description="`next_cursor` of the page before.")


class CursorSigner:
    """Writes and reads cursors; each is bound to one list of one user, and only this service can make one."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._keys = [hmac.digest(secret, b"cursor", "sha256") for secret in secrets]

    def write(self, values: Sequence[Any], binding: str) -> str:
        """Return the cursor of an element's sort key; `binding` names list, filter, sort and user."""
        plain = [format_timestamp(value) if isinstance(value, datetime) else value for value in values]
        payload = to_json(plain)
        return _encode(_code(self._keys[0], payload, binding) + payload)

    def read(self, cursor: str, binding: str) -> list[Any]:
        """Return the sort key in a cursor, times as text.

        Raises:
            InvalidCursorError: It was bent, or belongs to another list, filter, sort or user.
        """
        try:
            raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        except (Base64Error, ValueError):
            raise InvalidCursorError from None
        # The decoder ignores foreign characters and unused bits.
        if _encode(raw) != cursor:
            raise InvalidCursorError
        code, payload = raw[:_CODE_BYTES], raw[_CODE_BYTES:]
        if not any(hmac.compare_digest(_code(key, payload, binding), code) for key in self._keys):
            raise InvalidCursorError
        values: list[Any] = json.loads(payload)
        return values


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _code(key: bytes, payload: bytes, binding: str) -> bytes:
    return hmac.digest(key, payload + b"\0" + binding.encode(), "sha256")[:_CODE_BYTES]


@dataclass(frozen=True)
class Page:
    """How many elements to read, and after which (time, id); `after_time` is None for the first page."""

    limit: int
    after_time: datetime | None = None
    after_id: int | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of a statement: one element more than the page holds shows whether there is a next page."""
        return {"limit": self.limit + 1, "after_time": self.after_time, "after_id": self.after_id}


def read_page(query: PageQuery, signer: CursorSigner, binding: str) -> Page:
    """Return what to read of a list in order of (time, id).

    Raises:
        InvalidCursorError: The cursor is not one of this list.
    """
    if query.cursor is None:
        return Page(query.limit)
    moment, element_id = signer.read(query.cursor, binding)
    return Page(query.limit, datetime.fromisoformat(moment), element_id)


@cache_short_keys(1_000)
def kept_parameters(query_string: bytes) -> str:
    """Return what the next page's query has in common with this one's, ready to be followed by the cursor."""
    given = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)
    kept = [(name, value) for name, value in given if name not in {"cursor", "skip"}]
    return urlencode([*kept, ("cursor", "")])


def next_link(kept: str, cursor: str) -> str:
    """Return the `Link` header to the next page (RFC 8288), for the `kept_parameters` of this one.

    It is a query alone, which holds wherever the client found this page, below a prefix that a proxy strips too.
    """
    return f'<?{kept}{cursor}>; rel="next"'
