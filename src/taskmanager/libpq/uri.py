"""Reads connection URIs by libpq's rules (PostgreSQL's documentation, 32.1.1.2)."""

import re
from urllib.parse import unquote_to_bytes

from taskmanager.libpq.errors import AddressError

SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")
ESCAPE_HINT = "special characters in the password must be written as %40 and so on"
_CREDENTIALS = re.compile("([^@/:]*)(?::([^@/]*))?@")
_HOST = re.compile(r"(?:\[([^\]]+)\]|([^:/?,]*))(?::([^/?,]*))?")
_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")


def parse_uri(uri: str) -> dict[str, str]:
    """Return the parameters that a URI has by their names in libpq; several hosts and ports are lists with commas.

    Raises:
        AddressError: It is no connection URI, or one that libpq refuses.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme not in SCHEMES:
        raise AddressError("must look like postgresql://user:password@host:port/name")
    values: dict[str, str] = {}
    if credentials := _CREDENTIALS.match(rest):
        values |= {"user": credentials[1], "password": credentials[2] or ""}
        rest = rest[credentials.end() :]
    rest, values["host"], values["port"] = _take_hosts(rest)
    path, _, query = rest.partition("?")
    values["dbname"] = path.removeprefix("/")
    # An unescaped @ or / moves the rest of the password to where the host or the name is read.
    if (path and path[0] != "/") or "@" in values["host"] + values["port"] + path:
        raise AddressError(f"cannot be read: {ESCAPE_HINT}")
    return {name: _decode(value) for name, value in values.items() if value} | _parse_query(query)


def _take_hosts(rest: str) -> tuple[str, str, str]:
    hosts, ports = [], []
    while True:
        found = _HOST.match(rest)
        assert found is not None  # it may be empty
        hosts.append(found[1] or found[2])
        ports.append(found[3] or "")
        rest = rest[found.end() :]
        if not rest.startswith(","):
            return rest, ",".join(hosts), ",".join(ports)
        rest = rest[1:]


def _parse_query(query: str) -> dict[str, str]:
    values = {}
    for pair in filter(None, query.split("&")):
        name, equals, value = (part.strip() for part in pair.partition("="))
        name = _decode(name)
        if not re.fullmatch("[a-z_]+", name) or not equals:
            raise AddressError(f"its part after ? must be name=value&name=value; {ESCAPE_HINT}")
        if "=" in value:
            raise AddressError("= in the value of a parameter must be written as %3D")
        values[name] = _decode(value)
    return _without_aliases(values)


def _without_aliases(values: dict[str, str]) -> dict[str, str]:
    # Of JDBC and of the driver; and what libpq had before sslmode.
    if "ssl" in values:
        mode = values.pop("ssl")
        values.setdefault("sslmode", "require" if mode == "true" else mode)
    if "requiressl" in values:
        values.setdefault("sslmode", "require" if values.pop("requiressl") == "1" else "prefer")
    return values


def _decode(text: str) -> str:
    if _BAD_ESCAPE.search(text):
        raise AddressError("% must be written as %25")
    try:
        decoded = unquote_to_bytes(text).decode()
    except UnicodeError:
        raise AddressError("what is written as % and two digits must be UTF-8") from None
    if "\0" in decoded:
        raise AddressError("%00 must not be in it")
    return decoded
