"""Entity tags and the conditions on them (RFC 9110, sections 8.8.3 and 13.1).

A tag names a version, not bytes, so it is recognised in whatever form a compressing proxy has given it: weak, or with
the coding's name appended. Why that is safe: docs/decisions/0022.
"""

import re
from dataclasses import dataclass
from typing import Final

from taskmanager.errors import MalformedHeaderError, PreconditionRequiredError, StaleVersionError

_OPAQUE: Final = r"[\x21\x23-\x7e\x80-\xff]"
# Each character can be matched in one way only, so a malformed header takes no longer than a good one.
_TAGS: Final = re.compile(rf'[ \t,]*(?:(?:W/)?"{_OPAQUE}*"[ \t]*(?:,[ \t,]*|\Z))+')
# What proxies append: "3-gzip" (Apache, Caddy), "3--gzip" (Jetty), "3;gzip", "3;br" (LiteSpeed and others).
_CODING: Final = r"(?:-|--|;|:)(?:x-)?(?:gzip|gz|br|brotli|zstd|deflate|compress|dcb|dcz|identity)"
_MOST_PROXIES: Final = 4
_NAME: Final = re.compile(rf'"({_OPAQUE}*?)(?:{_CODING}){{0,{_MOST_PROXIES}}}"')
_VERSION: Final = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


def etag(version: int) -> str:
    """Return the strong entity tag of a version."""
    return f'"{version}"'


def read_tags(value: str) -> list[str] | None:
    """Return what is inside the tags of a list, without what proxies have made of them; None if it is malformed."""
    return _NAME.findall(value) if _TAGS.fullmatch(value) else None


@dataclass(frozen=True)
class IfMatch:
    """Which versions a write may replace; `versions` is None where any will do."""

    versions: list[int] | None
    given: bool

    def check(self, version: int) -> None:
        """Check the version that is there.

        Raises:
            PreconditionRequiredError: A condition is demanded and none was given.
            StaleVersionError: It is none of the versions that the client knows.
        """
        if self.versions is not None and version not in self.versions:
            if not self.given:
                raise PreconditionRequiredError
            raise StaleVersionError(version, base_version=min(self.versions, default=None))


NO_CONDITION = IfMatch(None, given=False)


def read_if_match(value: str | None, *, required: bool = False) -> IfMatch:
    """Return the condition of a write from its If-Match.

    Raises:
        MalformedHeaderError: The header is neither `*` nor a list of entity tags.
    """
    if value is None:
        return IfMatch([], given=False) if required else NO_CONDITION
    if value.strip() == "*":
        return IfMatch(None, given=True)
    if (tags := read_tags(value)) is None:
        raise MalformedHeaderError("If-Match")
    return IfMatch([int(tag) for tag in tags if _VERSION.fullmatch(tag)], given=True)


def matches_known(value: str, tag: str) -> bool:
    """Return whether If-None-Match names a tag, given without its quotes; a malformed header names none."""
    return value.strip() == "*" or tag in (read_tags(value) or ())
