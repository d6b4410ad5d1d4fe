"""The settings of the service, with their units and reasons, read from the environment and `.env`.

Those of the database and of webhooks are in files of their own.
"""

import re
from functools import cached_property
from ipaddress import ip_network
from typing import Annotated, Any, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from taskmanager.database_settings import DatabaseSettings
from taskmanager.origins import normalised_origins
from taskmanager.webhook_settings import WebhookSettings

MINIMUM_SECRET_BYTES = 32
# The Prometheus client looks for it when it is imported, which is why it is no field.
METRICS_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_MOST_PER_MINUTE = 1_000_000_000
_PATH_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]+)+/?", re.ASCII)
_LONGEST_PATH_PREFIX = 200


def read_path_prefix(text: str) -> str | None:
    """Return a prefix of paths such as `/tasks`, without a slash at its end, or None if the text is none."""
    if len(text) > _LONGEST_PATH_PREFIX or not _PATH_PREFIX.fullmatch(text):
        return None
    return text.removesuffix("/")


class Settings(WebhookSettings, DatabaseSettings):
    """All configuration, immutable once read.

    Raises:
        pydantic.ValidationError: A value is missing, malformed or unsafe.
    """

    secret_key: SecretStr = Field(
        description="Signs access and refresh tokens; at least 32 bytes; `dev` makes its own.",
    )
    secret_key_previous: SecretStr | None = Field(
        default=None,
        description="The secret before SECRET_KEY: still accepted, never used to sign, while one is rotated out.",
    )
    api_key: SecretStr | None = Field(
        default=None,
        description="A key with the scope `admin` that belongs to nobody; at least 32 characters; off by default.",
    )
    metrics_token: SecretStr | None = Field(
        default=None,
        description="The Bearer token that opens `/metrics`; at least 32 characters; unset, there are no metrics.",
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("http://localhost:3000",),
        description="Browser origins that may call the API; a comma list or a JSON array.",
    )
    cors_allow_credentials: bool = Field(
        default=True,
        description="Let browsers send credentials across origins; refused together with the origin `*`.",
    )
    allow_local_origins: bool = Field(
        default=False,
        description="Let pages of this machine call the API, whatever their port; `dev` turns it on.",
    )
    debug: bool = Field(
        default=False,
        description="Readable logs instead of JSON; answers never carry a traceback either way.",
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8000, ge=1, le=65_535, description="TCP port to listen on.")
    access_token_minutes: int = Field(
        default=30, ge=1, le=24 * 60, description="Lifetime of an access token, in minutes."
    )
    refresh_token_days: int = Field(
        default=30, ge=1, le=365, description="A login unused for this many days has to log in again."
    )
    session_retention_days: int = Field(
        default=30, ge=0, le=36_500, description="How long a login that has ended is kept, in days; 0 is for ever."
    )
    api_key_retention_days: int = Field(
        default=30, ge=0, le=36_500, description="How long an API key that has ended is kept, in days; 0 is for ever."
    )
    notification_retention_days: int = Field(
        default=90, ge=0, le=36_500, description="How long a notification is kept once read, in days; 0 is for ever."
    )
    password_min_characters: int = Field(
        default=8,
        ge=8,
        le=64,
        description="Shortest password that the API accepts, in characters; `taskmanager user` accepts 8.",
    )
    password_hash_threads: int = Field(
        default=1,
        ge=1,
        le=4,
        description="Threads of a worker that hash passwords, 19 MiB and about 35 ms of one core each time.",
    )
    password_hash_queue: int = Field(
        default=200, ge=1, le=10_000, description="Requests with a password that may wait before the answer is 503."
    )
    share_statements: bool = Field(
        default=True,
        description="Let concurrent requests share statements, and plain ones skip FastAPI; off, each runs alone.",
    )
    max_body_bytes: int = Field(
        default=1_048_576, ge=1_024, le=104_857_600, description="Largest accepted request body, in bytes."
    )
    rate_limit_anonymous_per_minute: int = Field(
        default=60,
        ge=0,
        le=_MOST_PER_MINUTE,
        description="Requests that need no login (registration, tokens) for each client address, in all workers "
        "together; 0 is no limit.",
    )
    rate_limit_user_per_minute: int = Field(
        default=6_000,
        ge=0,
        le=_MOST_PER_MINUTE,
        description="Requests of each user, with all their logins and keys, in all workers together; 0 is no limit.",
    )
    rate_limit_login_per_minute: int = Field(
        default=10,
        ge=0,
        le=_MOST_PER_MINUTE,
        description="Wrong passwords for each account from each client address; 0 is no limit.",
    )
    rate_limit_login_address_per_minute: int = Field(
        default=30,
        ge=0,
        le=_MOST_PER_MINUTE,
        description="Failed logins from each client address, whatever the account; 0 is no limit.",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Addresses and networks of the proxies in front, a comma list, whose X-Forwarded-For and "
        "X-Forwarded-Prefix are believed; `unix` is any client of a Unix socket.",
    )
    root_path: str | None = Field(
        default=None,
        description="The prefix that a proxy strips from every path, such as `/tasks`; where a trusted proxy sends "
        "X-Forwarded-Prefix, that counts.",
    )
    require_if_match: bool = Field(
        default=False,
        description=(
            "Refuse changes of tasks, projects, sections and comments without If-Match (428), so that no edit is lost."
        ),
    )
    keep_alive_seconds: int = Field(
        default=75,
        ge=1,
        le=3_600,
        description="How long an idle connection stays open; longer than a proxy in front keeps it.",
    )
    max_requests_in_flight: int = Field(
        default=2_000,
        ge=1,
        le=100_000,
        description="Most requests that a worker holds; one more is answered 503 right away, probes excepted.",
    )
    event_retention_days: int = Field(
        default=0,
        ge=0,
        le=36_500,
        description="For how many days events are kept; clients that were away for longer load everything anew, and "
        "activity ends there. 0: for ever.",
    )
    max_streams: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="Most streams and requests of a worker that wait for news of the event log; one more is answered "
        "503. They are not among those of MAX_REQUESTS_IN_FLIGHT.",
    )
    max_streams_per_user: int = Field(
        default=8,
        ge=1,
        le=10_000,
        description="Most streams of events that a worker holds of one user, and as many requests that wait for "
        "changes; one more is answered 429.",
    )
    web_app: bool = Field(default=True, description="Serve the web page for people at /app.")
    drain_seconds: float = Field(
        default=5.0,
        ge=0,
        le=300,
        description="How long to go on serving after SIGTERM, with `/readyz` at 503; 0 in `dev` unless set.",
    )
    shutdown_grace_seconds: int = Field(
        default=8,
        ge=1,
        le=300,
        description="How long open requests may take to finish once no more connections are taken.",
    )

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _normalise_origins(cls, value: Any) -> Any:
        return normalised_origins(value)

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _split_proxies(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        names = [name.strip() for name in value.split(",") if name.strip()]
        return tuple(name if name == "unix" else str(ip_network(name, strict=False)) for name in names)

    @field_validator("root_path")
    @classmethod
    def _read_root_path(cls, value: str | None) -> str | None:
        if value is None or value in {"", "/"}:
            return None
        if (prefix := read_path_prefix(value)) is None:
            raise ValueError("must be a path such as /tasks, of letters, digits and . _ ~ -")
        return prefix

    @field_validator("debug", mode="before")
    @classmethod
    def _tolerate_foreign_debug(cls, value: Any) -> Any:
        # Other tools set DEBUG to their own words ("release", "*"), which must not stop the start.
        if isinstance(value, str):
            return value.strip().lower() in {"1", "true", "yes", "on", "t", "y"}
        return value

    @field_validator("secret_key", "secret_key_previous", "api_key", "metrics_token")
    @classmethod
    def _require_long_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value().encode()) < MINIMUM_SECRET_BYTES:
            raise ValueError(f"must have at least {MINIMUM_SECRET_BYTES} bytes, for example: openssl rand -hex 32")
        return value

    @model_validator(mode="after")
    def _refuse_any_origin_with_credentials(self) -> Self:
        if "*" in self.allowed_origins and self.cors_allow_credentials:
            raise ValueError("ALLOWED_ORIGINS=* needs CORS_ALLOW_CREDENTIALS=false: any site could act for a user")
        return self

    @cached_property
    def signing_secrets(self) -> list[bytes]:
        """The secret that signs, then those that are accepted as well."""
        return [key.get_secret_value().encode() for key in (self.secret_key, self.secret_key_previous) if key]
