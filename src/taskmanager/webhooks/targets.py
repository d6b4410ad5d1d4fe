"""Where a webhook is sent: what its URL says, before any name is resolved."""

import re
from collections.abc import Collection
from typing import Final, NamedTuple
from urllib.parse import urlsplit

_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
_URL: Final = re.compile(r"https?://[\x21\x23-\x5b\x5d\x5f\x61-\x7a\x7e]+", re.ASCII | re.IGNORECASE)
_HOST: Final = re.compile(r"[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?|\[[0-9a-f:.]+\]", re.ASCII)
_LONGEST_HOST: Final = 253


class UnacceptableTargetError(ValueError):
    """A webhook cannot be sent there; the message says why."""


class Target(NamedTuple):
    """Where a request goes; `host` is in lower case and without brackets, `path` has the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def is_encrypted(self) -> bool:
        """Whether the request goes through TLS."""
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def read_target(url: str, unencrypted_hosts: Collection[str] = ()) -> Target:
    """Return where a URL leads; only `unencrypted_hosts` may be asked without TLS.

    Raises:
        UnacceptableTargetError: It is no URL for a webhook.
    """
    if not _URL.fullmatch(url):
        raise UnacceptableTargetError("must be a URL such as https://example.com/hook, of printable ASCII characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise UnacceptableTargetError("has a host or a port that cannot be read") from None
    if "@" in parts.netloc:
        raise UnacceptableTargetError("must not hold a user name or a password")
    if "#" in url:
        raise UnacceptableTargetError("must not have a fragment")
    host, _, _ = parts.netloc.lower().rpartition(":") if port is not None else (parts.netloc.lower(), "", "")
    host = host.removesuffix(":").removesuffix(".")
    if not _HOST.fullmatch(host) or len(host) > _LONGEST_HOST or port == 0:
        raise UnacceptableTargetError("has a host or a port that cannot be read")
    scheme = parts.scheme.lower()
    host = host.strip("[]")
    if scheme != "https" and host not in unencrypted_hosts:
        raise UnacceptableTargetError("must begin with https://")
    query = f"?{parts.query}" if parts.query else ""
    return Target(scheme, host, port or _DEFAULT_PORTS[scheme], f"{parts.path or '/'}{query}")
