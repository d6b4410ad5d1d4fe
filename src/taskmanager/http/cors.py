"""Cross-origin requests (WHATWG Fetch, section 3.2), by Starlette's rules."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from taskmanager.http.problems import Answer, problem_response
from taskmanager.origins import is_local, why_refused
from taskmanager.short_key_cache import cache_short_keys

# What a preflight asks; browsers add other headers to it over time (private networks), which mean nothing here.
_ASKED: Final = frozenset({b"origin", b"access-control-request-method", b"access-control-request-headers"})
HeaderPairs = Sequence[tuple[bytes, bytes]]
_EXPOSED_HEADERS: Final = (
    "ETag",
    "Link",
    "Location",
    "Retry-After",
    "X-Request-ID",
    "X-Process-Time",
    "Server-Timing",
    "Idempotency-Replayed",
    "RateLimit",
    "RateLimit-Policy",
)


async def _nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    return


class _Rules(CORSMiddleware):
    """Starlette's rules; `also` says of an origin that is not in the list whether it is allowed."""

    def __init__(self, also: Callable[[str], bool] | None, **options: Any) -> None:
        super().__init__(_nothing, **options)
        self._also = also

    def is_allowed_origin(self, origin: str) -> bool:
        """Return whether pages of an origin may read answers."""
        return super().is_allowed_origin(origin) or (self._also is not None and self._also(origin))


class Cors:
    """Answers preflights, and adds the headers by which browsers know which pages may read an answer."""

    def __init__(
        self,
        origins: Sequence[str],
        *,
        allow_credentials: bool,
        allow_local: bool = False,
        names_refused: bool = False,
    ) -> None:
        self._origins = origins
        self._names_refused = names_refused
        self._rules = _Rules(
            is_local if allow_local else None,
            allow_origins=origins,
            allow_credentials=allow_credentials,
            allow_methods=("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
            allow_headers=("*",),
            expose_headers=_EXPOSED_HEADERS,
            max_age=600,
        )
        self.headers = cache_short_keys(256)(self._headers_for)

    def preflight(self, scope: Scope, prefix: str = "") -> Response:
        """Return the answer to a preflight; a refusal is a problem document like every other error."""
        asked = [header for header in scope["headers"] if header[0] in _ASKED]
        response = self._rules.preflight_response(request_headers=Headers(raw=asked))
        if response.status_code == 200:
            return response
        self.headers(Headers(raw=asked)["origin"].encode("latin-1"))  # which names what it refuses
        problem = problem_response(Answer("cors-refused", bytes(response.body).decode()), scope, prefix)
        problem.headers.update(_without_content(response.headers))
        return problem

    def _headers_for(self, origin: bytes | None) -> HeaderPairs:
        """Return what an answer to a page of an origin must have, so that a browser lets the page read it."""
        headers = MutableHeaders(self._rules.simple_headers if origin is not None else None)
        if origin is not None and self._rules.is_allowed_origin(name := origin.decode("latin-1")):
            if not self._rules.allow_all_origins:
                self._rules.allow_explicit_origin(headers, name)
        else:
            headers["Vary"] = "Origin"
            if origin is not None and self._names_refused:
                reason = why_refused(name, self._origins)
                log = structlog.stdlib.get_logger("taskmanager.cors")
                log.warning("origin refused", origin=name[:200], reason=reason)
        return tuple(headers.raw)


def _without_content(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if not name.startswith("content-")}
