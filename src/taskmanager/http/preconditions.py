"""Entity tags and the conditions on them (RFC 9110, sections 8.8.3 and 13.1)."""

import re
from dataclasses import dataclass

from taskmanager.errors import MalformedHeaderError, PreconditionRequiredError, StaleVersionError

_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS = re.compile(rf"\s*(?:,\s*)*{_TAG}(?:\s*,\s*(?:{_TAG})?)*\s*")
_STRONG_VERSION = re.compile(r'(?<!W/)"([1-9][0-9]{0,8})"')
_ANY_VERSION = re.compile(r'"([1-9][0-9]{0,8})"')


def etag(version: int) -> str:
    """Return the strong entity tag of a version."""
    return f'"{version}"'


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
    """Return the condition of a write from its If-Match; tags are compared strongly, so a weak one matches nothing.

    Raises:
        MalformedHeaderError: The header is neither `*` nor a list of entity tags.
    """
    if value is None:
        return IfMatch([], given=False) if required else NO_CONDITION
    if value.strip() == "*":
        return IfMatch(None, given=True)
    if not _TAGS.fullmatch(value):
        raise MalformedHeaderError("If-Match")
    return IfMatch([int(version) for version in _STRONG_VERSION.findall(value)], given=True)


def matches_known(value: str, version: int) -> bool:
    """Return whether If-None-Match names this version, which is compared weakly; a malformed one is ignored."""
    if value.strip() == "*":
        return True
    return _TAGS.fullmatch(value) is not None and str(version) in _ANY_VERSION.findall(value)
