"""Every parameter of libpq 18, the variable that stands for it, and what the driver can make of it."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_SESSIONS = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")
_TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_OFF = ("0", "off", "false", "no")
_BINDING_REMEDY = (
    "leave it out and set sslmode=verify-full with sslrootcert=system, or with the file of the provider's authority, "
    "which also keeps others from standing in between"
)


class Use(Enum):
    """What becomes of a parameter: it is passed on, has no effect here, or is refused but for some values."""

    PASSED = auto()
    WITHOUT_EFFECT = auto()
    REFUSED = auto()


@dataclass(frozen=True)
class Parameter:
    """A parameter: `values` are all that it may have, in lower case, empty for any."""

    variable: str | None = None
    use: Use = Use.PASSED
    values: Collection[str] = ()
    remedy: str = "leave it out"


def _without_effect(variable: str | None = None) -> Parameter:
    return Parameter(variable, Use.WITHOUT_EFFECT)


def _refused(variable: str | None = None, *values: str, remedy: str = "leave it out") -> Parameter:
    return Parameter(variable, Use.REFUSED, values, remedy)


PARAMETERS: Final[dict[str, Parameter]] = {
    "host": Parameter("PGHOST"),
    "hostaddr": Parameter("PGHOSTADDR"),
    "port": Parameter("PGPORT"),
    "dbname": Parameter("PGDATABASE"),
    "user": Parameter("PGUSER"),
    "password": Parameter("PGPASSWORD"),
    "passfile": Parameter("PGPASSFILE"),
    "service": Parameter("PGSERVICE"),
    "connect_timeout": Parameter("PGCONNECT_TIMEOUT"),
    "options": Parameter("PGOPTIONS"),
    "application_name": Parameter("PGAPPNAME"),
    "fallback_application_name": Parameter(),
    "target_session_attrs": Parameter("PGTARGETSESSIONATTRS", values=_SESSIONS),
    "load_balance_hosts": Parameter("PGLOADBALANCEHOSTS", values=("disable", "random")),
    "sslmode": Parameter("PGSSLMODE", values=_MODES),
    "sslnegotiation": Parameter("PGSSLNEGOTIATION", values=("postgres", "direct")),
    "sslcert": Parameter("PGSSLCERT"),
    "sslkey": Parameter("PGSSLKEY"),
    "sslpassword": Parameter(),
    "sslrootcert": Parameter("PGSSLROOTCERT"),
    "sslcrl": Parameter("PGSSLCRL"),
    "ssl_min_protocol_version": Parameter("PGSSLMINPROTOCOLVERSION", values=_TLS_VERSIONS),
    "ssl_max_protocol_version": Parameter("PGSSLMAXPROTOCOLVERSION", values=_TLS_VERSIONS),
    "krbsrvname": Parameter("PGKRBSRVNAME"),
    "gsslib": Parameter("PGGSSLIB", values=("gssapi", "sspi")),
    # The service decodes texts and bounds every wait itself.
    "client_encoding": _without_effect("PGCLIENTENCODING"),
    "keepalives": _without_effect(),
    "keepalives_idle": _without_effect(),
    "keepalives_interval": _without_effect(),
    "keepalives_count": _without_effect(),
    "tcp_user_timeout": _without_effect(),
    "sslcompression": _without_effect("PGSSLCOMPRESSION"),
    # SQLAlchemy's, for which the service has a number of its own.
    "prepared_statement_cache_size": _without_effect(),
    # What protects the connection must not be left out in silence.
    "channel_binding": _refused("PGCHANNELBINDING", "disable", "prefer", remedy=_BINDING_REMEDY),
    "require_auth": _refused("PGREQUIREAUTH"),
    "gssencmode": _refused("PGGSSENCMODE", "disable", "prefer", remedy="use TLS by sslmode=verify-full"),
    "gssdelegation": _refused("PGGSSDELEGATION", *_OFF),
    "sslcertmode": _refused("PGSSLCERTMODE", "allow"),
    "sslcrldir": _refused("PGSSLCRLDIR", remedy="put the lists into the one file of sslcrl"),
    "sslsni": _refused("PGSSLSNI", "1"),
    "sslkeylogfile": _refused(),
    "requirepeer": _refused("PGREQUIREPEER"),
    "min_protocol_version": _refused("PGMINPROTOCOLVERSION", "3.0"),
    "max_protocol_version": _refused("PGMAXPROTOCOLVERSION", "3.0", "3.2", "latest"),
    "replication": _refused(None, *_OFF),
    "scram_client_key": _refused(),
    "scram_server_key": _refused(),
    "oauth_issuer": _refused(),
    "oauth_client_id": _refused(),
    "oauth_client_secret": _refused(),
    "oauth_scope": _refused(),
}
VARIABLES: Final = frozenset(
    {"PGREQUIRESSL", "PGSERVICEFILE", "PGSYSCONFDIR"} | {p.variable for p in PARAMETERS.values() if p.variable}
)
