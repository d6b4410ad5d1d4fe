"""What is limited, how far, and what a request learns of it."""

from datetime import datetime
from typing import Final, Literal, NamedTuple

from taskmanager.settings import Settings

WINDOW_SECONDS: Final = 60
LEASES_PER_LIMIT: Final = 50

Kind = Literal["user", "anonymous", "login", "login-address", "password"]
# What is limited, and for whom: ("user", 42), ("anonymous", "192.0.2.1").
Key = tuple[Kind, int | str]


class Policy:
    """A limit: its name and how many permits a window has, 0 for any number."""

    __slots__ = ("header", "lease", "limit", "state")

    def __init__(self, name: str, limit: int, *, leased: bool) -> None:
        self.limit = limit
        # Without leases each permit is asked for by itself, and can be given back.
        self.lease = max(limit // LEASES_PER_LIMIT, 1) if leased else 0
        self.header = f'"{name}";q={limit};w={WINDOW_SECONDS}'.encode()
        self.state = f'"{name}";r=%d;t=%d'.encode()


class Decision(NamedTuple):
    """Whether a request is admitted, what its caller has left in this window as far as known here, and its end."""

    admitted: bool
    policy: Policy
    remaining: int
    reset_seconds: int
    resets_at: datetime | None

    @property
    def limit(self) -> int:
        """Permits in a window; 0 is no limit."""
        return self.policy.limit

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """`RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10), if there is a limit."""
        if not self.policy.limit:
            return []
        state = self.policy.state % (self.remaining, self.reset_seconds)
        return [(b"ratelimit-policy", self.policy.header), (b"ratelimit", state)]


UNLIMITED: Final = Decision(True, Policy("default", 0, leased=True), 0, 0, None)


def policies_of(settings: Settings) -> dict[Kind, Policy]:
    """Return the limit of each kind."""
    return {
        "user": Policy("default", settings.rate_limit_user_per_minute, leased=True),
        "anonymous": Policy("default", settings.rate_limit_anonymous_per_minute, leased=True),
        "login": Policy("login", settings.rate_limit_login_per_minute, leased=False),
        "login-address": Policy("login", settings.rate_limit_login_address_per_minute, leased=False),
        "password": Policy("login", settings.rate_limit_login_per_minute, leased=False),
    }
