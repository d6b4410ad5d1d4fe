"""Positions in the event log, and the cursors that name them to clients."""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from struct import Struct
from typing import Any, Final, NamedTuple
from uuid import UUID

from taskmanager.errors import CursorExpiredError, InvalidCursorError

_PLACE: Final = Struct(">B16sIQQ")
_CODE_BYTES: Final = 12
_LOG, _LOADING = 1, 2


class Position(NamedTuple):
    """A place in the log: that of an event, or the start of all."""

    era: int
    xid: int
    id: int


START: Final = Position(0, 0, 0)


class Epoch(NamedTuple):
    """What positions belong to, and the key of the cursors that name them."""

    id: UUID
    mac_key: bytes

    def check(self, cursor: str) -> None:
        """Make sure that a cursor says that it is of this epoch.

        Raises:
            InvalidCursorError: It is no cursor at all.
            CursorExpiredError: It is of another epoch.
        """
        if _PLACE.unpack_from(_decode(cursor), _CODE_BYTES)[1] != self.id.bytes:
            raise CursorExpiredError("epoch")

    def write(self, position: Position) -> str:
        """Return the cursor of a position, the same for everybody: it grants nothing."""
        return self._seal(_LOG, position)

    def read(self, cursor: str) -> Position:
        """Return the position that a cursor names.

        Raises:
            InvalidCursorError: It was bent.
            CursorExpiredError: It belongs to another epoch.
        """
        position, rest = self._open(_LOG, cursor)
        if rest:
            raise InvalidCursorError
        return position

    def write_loading(self, position: Position, state: Any, binding: str) -> str:
        """Return the cursor of something that is being loaded, after which the log is read from a position.

        `state` is what the loading needs to go on, `binding` names user and filters.
        """
        payload = json.dumps(state, separators=(",", ":")).encode()
        return self._seal(_LOADING, position, payload, binding)

    def read_loading(self, cursor: str, binding: str) -> tuple[Position, Any]:
        """Return the position after which the log is to be read, and what the loading needs to go on.

        Raises:
            InvalidCursorError: It was bent, or belongs to another user or other filters.
            CursorExpiredError: It belongs to another epoch.
        """
        position, payload = self._open(_LOADING, cursor, binding)
        return position, json.loads(payload)

    def _seal(self, kind: int, position: Position, payload: bytes = b"", binding: str = "") -> str:
        plain = _PLACE.pack(kind, self.id.bytes, *position) + payload
        return _encode(self._code(plain, binding) + plain)

    def _open(self, kind: int, cursor: str, binding: str = "") -> tuple[Position, bytes]:
        raw = _decode(cursor)
        code, plain = raw[:_CODE_BYTES], raw[_CODE_BYTES:]
        found, epoch, *place = _PLACE.unpack_from(plain)
        if epoch != self.id.bytes:
            # The key that made it is gone, so it may also have been made up.
            raise CursorExpiredError("epoch")
        if found != kind or not hmac.compare_digest(self._code(plain, binding), code):
            raise InvalidCursorError
        return Position(*place), plain[_PLACE.size :]

    def _code(self, plain: bytes, binding: str) -> bytes:
        return hmac.digest(self.mac_key, plain + b"\0" + binding.encode(), "sha256")[:_CODE_BYTES]


def is_loading(cursor: str) -> bool:
    """Return whether a cursor is of the second kind, made by `write_loading`.

    Raises:
        InvalidCursorError: It is none at all.
    """
    return _decode(cursor)[_CODE_BYTES] == _LOADING


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(cursor: str) -> bytes:
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
    except (Base64Error, ValueError):
        raise InvalidCursorError from None
    # The decoder ignores foreign characters and unused bits.
    if _encode(raw) != cursor or len(raw) < _CODE_BYTES + _PLACE.size:
        raise InvalidCursorError
    return raw
