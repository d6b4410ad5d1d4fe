"""What the compiled handlers of plain requests are given: the caller, reads, writes and what features provide."""

from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.datastructures import State

from taskmanager.accounts.authentication import AdministratorAuthentication, CallerAuthentication, NoAuthentication
from taskmanager.accounts.callers import RequestReads
from taskmanager.accounts.dependencies import (
    allow_anyone,
    authenticate,
    authenticate_account,
    authenticate_administrator,
    get_app_writes,
    get_token_signer,
    get_unkept_writes,
    get_writes,
)
from taskmanager.accounts.request_writes import RequestWrites
from taskmanager.database.reads import Reads
from taskmanager.database.writes import Writes
from taskmanager.http.binding import Authentication, BoundRoute, PlainRequest, Provider, bind
from taskmanager.http.dependencies import (
    KnownVersions,
    Pager,
    get_if_match,
    get_known_versions,
    get_pager,
    get_reads,
    get_settings,
)
from taskmanager.http.dispatch import Endpoint, RouteTable
from taskmanager.http.preconditions import IfMatch, read_if_match
from taskmanager.idempotency.header import identify_request, read_idempotency_key


def bind_all(app: FastAPI, table: RouteTable) -> dict[Endpoint, BoundRoute]:
    """Return the compiled handler of each endpoint that has one."""
    state = app.state
    limiter = state.rate_limiter
    authenticate_plainly = partial(CallerAuthentication, state.callers, state.token_signer, limiter)
    authentications: dict[Callable[..., Any], Authentication] = {
        authenticate: authenticate_plainly(),
        authenticate_account: authenticate_plainly(needs_account=True),
        authenticate_administrator: AdministratorAuthentication(state.callers, limiter, state.settings),
        allow_anyone: NoAuthentication(state.client_addresses, limiter),
    }
    providers: dict[Callable[..., Any], Provider] = {
        get_reads: Provider(partial(_request_reads, state.reads)),
        get_settings: Provider(lambda _: state.settings),
        get_token_signer: Provider(lambda _: state.token_signer),
        get_app_writes: Provider(lambda _: state.writes),
        get_pager: Provider(lambda request: Pager(state.cursor_signer, request.scope)),
        get_known_versions: Provider(_known_versions, frozenset({b"if-none-match"})),
        get_if_match: Provider(partial(_if_match, required=state.settings.require_if_match), frozenset({b"if-match"})),
        get_writes: Provider(partial(_request_writes, state.writes, state.reads), frozenset({b"idempotency-key"})),
        get_unkept_writes: Provider(partial(_unkept_writes, state.writes, state.reads)),
    }
    for feature in state.features:
        for dependency, name in feature.provides.items():
            providers[dependency] = Provider(partial(_attribute, state, name))
    found = ((endpoint, bind(endpoint, providers, authentications)) for _, endpoint in table)
    return {endpoint: bound for endpoint, bound in found if isinstance(bound, BoundRoute)}


def _attribute(state: State, name: str, _: PlainRequest) -> Any:
    return getattr(state, name)


def _request_reads(reads: Reads, request: PlainRequest) -> RequestReads:
    if request.reads is None:
        request.reads = RequestReads(reads)
    found: RequestReads = request.reads
    return found


def _request_writes(writes: Writes, reads: Reads, request: PlainRequest) -> RequestWrites:
    key = read_idempotency_key(_header(request, b"idempotency-key"))
    identify = None if key is None else partial(identify_request, request.scope, key, request.body)
    return RequestWrites(writes, _request_reads(reads, request), identify)


def _unkept_writes(writes: Writes, reads: Reads, request: PlainRequest) -> RequestWrites:
    return RequestWrites(writes, _request_reads(reads, request), None)


def _if_match(request: PlainRequest, *, required: bool) -> IfMatch:
    return read_if_match(_header(request, b"if-match"), required=required)


def _known_versions(request: PlainRequest) -> KnownVersions:
    return KnownVersions(_header(request, b"if-none-match"))


def _header(request: PlainRequest, name: bytes) -> str | None:
    value = request.headers.get(name)
    return None if value is None else value.decode("latin-1")
