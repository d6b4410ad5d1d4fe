"""Origins of web pages, as browsers write them (RFC 6454, WHATWG URL)."""

import json
import re
from collections.abc import Iterable
from ipaddress import IPv6Address
from typing import Any

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(?:\[([0-9a-f:.]+)\]|([^/:?#@\[\]\\\s*%]+))(?::([0-9]{0,5}))?/?")
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


def _refusal(origin: str) -> ValueError:
    return ValueError(f"no browser sends {origin!r}; it must look like https://app.example.com")
