"""Origins of web pages, as browsers write them (RFC 6454, WHATWG URL)."""

import json
import re
from collections.abc import Iterable
from ipaddress import IPv6Address
from typing import Any
from urllib.parse import urlsplit

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(?:\[([0-9a-f:.]+)\]|([^/:?#@\[\]\\\s*%]+))(?::([0-9]{0,5}))?/?")
_LOCAL = re.compile(r"https?://(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def normalised_origins(value: Any) -> tuple[str, ...]:
    """Return each origin of a comma list, a JSON array or a sequence once, as browsers send it; `*` means any.

    Raises:
        ValueError: One is none that a browser sends, or the array is not valid JSON.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError("starts with [ but is no JSON array") from None
    elif isinstance(value, str):
        value = [origin for origin in value.split(",") if origin.strip()]
    if not isinstance(value, Iterable):
        raise ValueError("must be a list")  # noqa: TRY004  # pydantic takes no TypeError
    return tuple(dict.fromkeys(_normalised(origin) for origin in value))


def _normalised(origin: Any) -> str:
    if not isinstance(origin, str):
        raise ValueError("must be a list of texts")  # noqa: TRY004  # pydantic takes no TypeError
    if origin.strip() == "*":
        return "*"
    found = _ORIGIN.fullmatch(origin.strip().lower())
    if found is None:
        raise _refusal(origin)
    scheme, address, name, digits = found.groups()
    try:
        # Browsers write names in ASCII.
        host = f"[{IPv6Address(address)}]" if address else name.encode("idna").decode()
    except ValueError:
        raise _refusal(origin) from None
    port = int(digits) if digits else None
    if port is not None and not 0 < port < 65_536:
        raise _refusal(origin)
    return f"{scheme}://{host}" if port in {None, _DEFAULT_PORTS.get(scheme)} else f"{scheme}://{host}:{port}"


def is_local(origin: str) -> bool:
    """Return whether an origin, as browsers send it, is a page of this machine, on whatever port."""
    return _LOCAL.fullmatch(origin) is not None


def why_refused(origin: str, allowed: Iterable[str]) -> str:
    """Return for the log why pages of an origin are not among those that are allowed, and what to do."""
    if origin == "null":
        return "a page that was opened as a file, or stands in a sandboxed frame, has no origin: serve it by HTTP"
    try:
        found = urlsplit(origin)
    except ValueError:
        return "no browser sends such an origin"
    for one in map(urlsplit, allowed):
        if one.hostname == found.hostname and one.scheme != found.scheme:
            return f"ALLOWED_ORIGINS has it with {one.scheme} only"
        if one.hostname == found.hostname:
            return f"ALLOWED_ORIGINS has it with {f'port {one.port}' if one.port else 'the default port'} only"
    return "it is not in ALLOWED_ORIGINS"


def _refusal(origin: str) -> ValueError:
    return ValueError(f"no browser sends {origin!r}; it must look like https://app.example.com")
