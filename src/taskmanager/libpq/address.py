"""Where a database is and how it is reached, as libpq reads it from a URI and the environment."""

import os
import random
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from taskmanager.libpq.errors import AddressError
from taskmanager.libpq.sources import Value, gather, refusal
from taskmanager.libpq.uri import ESCAPE_HINT

_DEFAULT_PORT = 5432
_VERIFYING = ("verify-ca", "verify-full")
_ENCRYPTING = ("require", *_VERIFYING)
# Parameters that the driver takes only from a URI; it reads the files again for each connection.
_TLS = (
    "sslmode",
    "sslcert",
    "sslkey",
    "sslpassword",
    "sslrootcert",
    "sslcrl",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
)
_SYSTEM = "system"
_FILES = {"sslrootcert": "root.crt", "sslcrl": "root.crl", "sslcert": "postgresql.crt", "sslkey": "postgresql.key"}


@dataclass(frozen=True)
class Address:
    """What to pass to the driver; `hosts` is empty where the driver looks for a server on this machine.

    `connect_timeout_seconds` is None if the address does not say, and infinite if it wants no limit.
    """

    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    database: str | None
    server_settings: dict[str, str]
    connect_timeout_seconds: float | None
    values: dict[str, Value] = field(repr=False)

    def __str__(self) -> str:
        hosts = self.hosts or ("localhost",)
        return ",".join(f"{h}:{p}" for h, p in zip(hosts, self.ports, strict=True)) + f"/{self.database or ''}"

    @property
    def is_tcp(self) -> bool:
        """Whether some host is reached by TCP, the only way that has TLS."""
        return not self.hosts or any(not host.startswith("/") for host in self.hosts)

    def connect_args(self) -> dict[str, Any]:
        """Return the arguments of `asyncpg.connect`, but for `server_settings` and `timeout`."""
        places = list(zip(self.hosts, self.ports, strict=True)) if self.hosts else []
        if self._text("load_balance_hosts") == "random":
            random.shuffle(places)
        arguments: dict[str, Any] = {
            "host": [host for host, _ in places] or None,
            "port": [port for _, port in places] or self.ports[0],
            "user": self._text("user"),
            "password": self._text("password"),
            "passfile": self._text("passfile"),
            "database": self.database,
            "target_session_attrs": self._text("target_session_attrs"),
            "krbsrvname": self._text("krbsrvname"),
            "gsslib": self._text("gsslib"),
        }
        if not self.is_tcp:
            return {**arguments, "ssl": False}
        arguments["direct_tls"] = self._text("sslnegotiation") == "direct"
        if self._text("sslrootcert") == _SYSTEM:
            return {**arguments, "ssl": self._system_context()}
        tls = {name: self.values[name].text for name in _TLS if name in self.values}
        return {**arguments, "dsn": f"postgresql://?{urlencode(tls, quote_via=quote)}"} if tls else arguments

    def check_files(self) -> None:
        """Make sure that every file that the connection needs can be read.

        Raises:
            AddressError: One is not there, not readable, or holds something else.
        """
        mode = self._text("sslmode") or "prefer"
        if self.is_tcp and mode != "disable":
            files = {name: self._file(name) for name in _FILES}
            if mode in _VERIFYING and files["sslrootcert"] is None:
                needs = "needs sslrootcert, the file of an authority, or sslrootcert=system"
                raise refusal("sslmode", self.values["sslmode"], f"{mode} {needs}")
            self._try_files(mode, files)
        if "passfile" in self.values:
            value = self.values["passfile"]
            try:
                Path(value.text).read_text()
            except UnicodeDecodeError:
                raise refusal("passfile", value, "is not a text of this system's encoding") from None
            except OSError:  # libpq and the driver go on without it
                return

    def _file(self, name: str) -> str | None:
        value = self.values.get(name)
        if value and value.text == _SYSTEM and name == "sslrootcert":
            return _SYSTEM
        home = os.environ.get("HOME")
        file = value.text if value else str(Path(home, ".postgresql", _FILES[name])) if home else None
        if file is None:
            return None
        try:
            Path(file).open("rb").close()
        except (FileNotFoundError, NotADirectoryError) as error:
            if value is None:
                return None
            raise refusal(name, value, f"cannot be read: {error.strerror}") from None
        except OSError as error:
            if value is None:
                raise AddressError(f"{file} cannot be read: {error.strerror}", "HOME") from None
            raise refusal(name, value, f"cannot be read: {error.strerror}") from None
        return file

    def _try_files(self, mode: str, files: dict[str, str | None]) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        name = "sslrootcert"
        try:
            if mode in _ENCRYPTING:
                for name in ("sslrootcert", "sslcrl"):
                    if (file := files[name]) and file != _SYSTEM:
                        context.load_verify_locations(cafile=file)
            name = "sslcert"
            if file := files[name]:
                context.load_cert_chain(file, files["sslkey"], password=lambda: self._text("sslpassword") or "")
        except (OSError, ValueError) as error:
            pair = "and sslkey are no certificate and its key"
            reason = pair if name == "sslcert" else "is no PEM file of certificates"
            value = self.values.get(name)
            if value is None:
                raise AddressError(f"{files[name]} {reason}", "HOME") from error
            raise refusal(name, value, reason) from error

    def _system_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.set_alpn_protocols(["postgresql"])
        for bound in ("min", "max"):
            if version := self._text(f"ssl_{bound}_protocol_version"):
                setattr(context, f"{bound}imum_version", ssl.TLSVersion[version.replace(".", "_")])
        if revoked := self._file("sslcrl"):
            context.load_verify_locations(cafile=revoked)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
        if certificate := self._file("sslcert"):
            key = self._file("sslkey")
            context.load_cert_chain(certificate, key, password=lambda: self._text("sslpassword") or "")
        return context

    def _text(self, name: str) -> str | None:
        value = self.values.get(name)
        return value.text if value else None


def read_address(uri: str, environment: Mapping[str, str] = os.environ) -> Address:
    """Return where a URI leads, together with what the environment adds to it.

    Raises:
        AddressError: libpq would refuse it, or it asks for something that the driver cannot do.
    """
    values = gather(uri, environment)
    hosts = _hosts(values)
    ports = _ports(values, max(len(hosts), 1))
    _check_tls(values)
    settings = {"options": values["options"].text} if "options" in values else {}
    if name := values.get("application_name") or values.get("fallback_application_name"):
        settings["application_name"] = name.text
    database = values.get("dbname") or values.get("user")
    return Address(hosts, ports, database.text if database else None, settings, _timeout(values, len(hosts)), values)


def _hosts(values: Mapping[str, Value]) -> tuple[str, ...]:
    host, address = values.get("host"), values.get("hostaddr")
    if address is not None:
        if values.get("sslmode", Value("")).text == "verify-full" and host is not None:
            raise refusal("hostaddr", address, "is not supported with sslmode=verify-full: leave it out")
        if host is not None and host.text.count(",") != address.text.count(","):
            raise refusal("hostaddr", address, "must have as many elements as host")
    value = address or host
    if value is None:
        return ()
    hosts = tuple(host.strip() or "localhost" for host in value.text.split(","))
    for one in hosts:
        try:
            is_name = not one.startswith("@") and (one.startswith("/") or bool(one.encode("idna")))
        except UnicodeError:
            is_name = False
        if not is_name or any(character.isspace() for character in one):
            raise refusal("hostaddr" if address else "host", value, f"is no name of a host; {ESCAPE_HINT}")
    return hosts


def _ports(values: Mapping[str, Value], hosts: int) -> tuple[int, ...]:
    value = values.get("port")
    if value is None:
        return (_DEFAULT_PORT,) * hosts
    texts = [text.strip() for text in value.text.split(",")]
    if not all(not text or (text.isascii() and text.isdigit() and 0 < int(text[:9]) < 65_536) for text in texts):
        hint = "" if value.source else f"; {ESCAPE_HINT}"
        raise refusal("port", value, f"must be a number from 1 to 65535{hint}")
    if len(texts) not in {1, hosts}:
        raise refusal("port", value, "must be one number, or as many as there are hosts")
    ports = tuple(int(text or _DEFAULT_PORT) for text in texts)
    return ports if len(ports) == hosts else ports * hosts


def _timeout(values: Mapping[str, Value], hosts: int) -> float | None:
    value = values.get("connect_timeout")
    if value is None:
        return None
    try:
        seconds = int(value.text)
    except ValueError:
        raise refusal("connect_timeout", value, "must be a whole number of seconds") from None
    # libpq's is for each host, the driver's for all of them.
    return float(min(seconds, 3_600) * max(hosts, 1)) if seconds > 0 else float("inf")


def _check_tls(values: Mapping[str, Value]) -> None:
    mode, direct, root = (values.get(name) for name in ("sslmode", "sslnegotiation", "sslrootcert"))
    if root and root.text == _SYSTEM and mode and mode.text != "verify-full":
        raise refusal("sslrootcert", root, "system needs sslmode=verify-full")
    is_encrypted = (mode and mode.text in _ENCRYPTING) or (root and root.text == _SYSTEM)
    if direct and direct.text == "direct" and not is_encrypted:
        raise refusal("sslnegotiation", direct, "direct needs sslmode=require, verify-ca or verify-full")
    least, most = (values.get(f"ssl_{bound}_protocol_version") for bound in ("min", "max"))
    if least and most and least.text > most.text:
        raise refusal("ssl_min_protocol_version", least, "must not be above ssl_max_protocol_version")
