"""Assembles the application: the only place that knows all parts."""

import gc
import os
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from taskmanager.accounts.callers import Callers
from taskmanager.accounts.feature import FEATURE as ACCOUNTS
from taskmanager.accounts.password.hashing import PasswordHasher
from taskmanager.accounts.tokens import TokenSigner
from taskmanager.activity.feature import FEATURE as ACTIVITY
from taskmanager.administration.feature import FEATURE as ADMINISTRATION
from taskmanager.bound_handlers import bind_all
from taskmanager.changes.feature import FEATURE as CHANGES
from taskmanager.comments.feature import FEATURE as COMMENTS
from taskmanager.database.database import REQUEST_CONNECT_SECONDS, Database
from taskmanager.database.measuring import StatementMeter
from taskmanager.database.reads import Reads
from taskmanager.database.shared_connections import SharedConnections
from taskmanager.database.writes import Writes
from taskmanager.documentation.openapi import complete_openapi
from taskmanager.documentation.pages import add_documentation
from taskmanager.features import Feature, jobs_of
from taskmanager.following.feature import FEATURE as FOLLOWING
from taskmanager.health.feature import FEATURE as HEALTH
from taskmanager.health.readiness import Readiness
from taskmanager.http.binding import BoundRoute
from taskmanager.http.client_addresses import ClientAddresses
from taskmanager.http.cors import Cors
from taskmanager.http.dispatch import Endpoint, RouteTable
from taskmanager.http.draining import Drain
from taskmanager.http.front import Front
from taskmanager.http.pagination import CursorSigner
from taskmanager.http.path_prefixes import PathPrefixes
from taskmanager.http.surroundings import Surroundings
from taskmanager.lifespan import run_lifespan
from taskmanager.maintenance.maintenance import Maintenance
from taskmanager.notifications.feature import FEATURE as NOTIFICATIONS
from taskmanager.people.feature import FEATURE as PEOPLE
from taskmanager.projects.feature import FEATURE as PROJECTS
from taskmanager.rate_limits.limiter import RateLimiter
from taskmanager.sections.feature import FEATURE as SECTIONS
from taskmanager.settings import Settings
from taskmanager.stream.feature import FEATURE as STREAM
from taskmanager.tasks.feature import FEATURE as TASKS
from taskmanager.telemetry.logs import configure_logging, log_writer
from taskmanager.telemetry.metrics import Metrics
from taskmanager.telemetry.tracing import TELEMETRY, has_telemetry
from taskmanager.webapp.feature import FEATURE as WEBAPP
from taskmanager.webhooks.feature import FEATURE as WEBHOOKS

FEATURES: Final[tuple[Feature, ...]] = (
    HEALTH,
    FOLLOWING,
    ACCOUNTS,
    PEOPLE,
    PROJECTS,
    SECTIONS,
    TASKS,
    COMMENTS,
    ACTIVITY,
    NOTIFICATIONS,
    CHANGES,
    STREAM,
    WEBHOOKS,
    WEBAPP,
    ADMINISTRATION,
)
_DESCRIPTION = """Tasks, projects and comments for web clients.

Register with `POST /api/v1/users`, log in with `POST /api/v1/token` (the *Authorize* button does it), and send
the access token as `Authorization: Bearer ...`. Every error is `application/problem+json`."""


def create_app(settings: Settings, features: Sequence[Feature] = FEATURES) -> FastAPI:
    """Return the application for these settings; nothing is connected before its lifespan starts.

    The lifespan fails if the schema is known not to fit, unless `state.starts_with_any_database` is set. It never fails
    for a database that is out of reach: `/readyz` says so until it answers.

    Raises:
        ValueError: The settings name no database.
    """
    app = _Application(
        title="Task Manager API",
        version=version("task-manager-api"),
        description=_DESCRIPTION,
        lifespan=run_lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry=TELEMETRY,
    )
    app.state.settings = settings
    app.state.features = features
    app.state.starts_with_any_database = False
    app.state.database = Database(settings, connect_wait_seconds=REQUEST_CONNECT_SECONDS)
    app.state.shared_connections = shared = SharedConnections(app.state.database)
    app.state.reads = Reads(app.state.database, shared if settings.share_statements else None)
    app.state.writes = Writes(app.state.database, shared if settings.share_statements else None)
    app.state.callers = Callers(app.state.reads, app.state.writes)
    app.state.drain = Drain(settings.drain_seconds)
    app.state.readiness = Readiness(settings, app.state.drain)
    app.state.rate_limiter = RateLimiter(settings)
    app.state.client_addresses = ClientAddresses(settings.trusted_proxies)
    app.state.path_prefixes = PathPrefixes(settings.root_path or "", app.state.client_addresses)
    app.state.token_signer = TokenSigner(settings.signing_secrets, access_token_minutes=settings.access_token_minutes)
    app.state.cursor_signer = CursorSigner(settings.signing_secrets)
    app.state.password_hasher = PasswordHasher(
        threads=settings.password_hash_threads,
        queue=settings.password_hash_queue,
        # One connection for writes is left to other requests, however many people log in.
        turns=min(settings.password_hash_threads, settings.database_pool_size - 1),
    )
    app.state.maintenance = Maintenance(jobs_of(features), app.state.writes, settings)
    app.state.drain.on_start.append(app.state.maintenance.stop)
    app.state.metrics = _metrics(app)
    for feature in features:
        if feature.prepare is not None:
            feature.prepare(app)
    _add_routes(app)
    app.wrap = partial(_front, app, settings)
    complete_openapi(app)
    return app


def create_configured_app() -> FastAPI:
    """Return the application for the settings of the environment, as servers start it, with logging set up.

    Raises:
        pydantic.ValidationError: A setting is missing, malformed or unsafe.
    """
    settings = Settings()
    configure_logging(readable=settings.debug)
    os.environ.setdefault("OTEL_SERVICE_NAME", "taskmanager")
    app = create_app(settings)
    _tune_garbage_collection()
    return app


def create_checked_app() -> FastAPI:
    """Return the application like `create_configured_app`, for a process whose parent has checked the database.

    It starts whatever the state of the database, so that a worker takes the place of another without a wait.

    Raises:
        pydantic.ValidationError: A setting is missing, malformed or unsafe.
    """
    app = create_configured_app()
    app.state.starts_with_any_database = True
    return app


def _tune_garbage_collection() -> None:
    # Modules, routes and schemas live as long as the process. Looked through with every full collection they are
    # pauses of a tenth of a second; requests leave few cycles behind, so collections can be rarer. They still have
    # to come: what a statement of SQLAlchemy holds is freed by nothing else.
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 4)


def _metrics(app: FastAPI) -> Metrics:
    metrics = Metrics()
    gauge, counter = metrics.watch_gauge, metrics.watch_counter
    writing: SharedConnections = app.state.writes.connections
    meter: StatementMeter = app.state.database.meter
    hasher: PasswordHasher = app.state.password_hasher
    gauge("database_pool_size", "Connections for writes that there may be.", lambda: writing.limit)
    gauge("database_pool_in_use", "Connections that a write is using.", lambda: writing.in_use)
    gauge("database_pool_waiting", "Writes that wait for a free connection.", lambda: writing.waiting)
    counter("database_statements", "Statements sent, commits included.", lambda: meter.statements)
    counter("database_statement_seconds", "Time that these took.", lambda: meter.seconds)
    kinds = app.state.shared_connections.kinds
    counter("shared_statements", "Those that requests can share.", lambda: sum(kind.statements for kind in kinds))
    counter("shared_statement_requests", "Requests in these.", lambda: sum(kind.requests for kind in kinds))
    batches = app.state.writes.batches.kinds
    counter("write_batches", "Messages that hold a write of several.", lambda: sum(kind.statements for kind in batches))
    counter("write_batch_requests", "Requests in these.", lambda: sum(kind.requests for kind in batches))
    gauge("password_hashes_pending", "Requests with a password under way or waiting.", lambda: hasher.pending)
    failures = app.state.rate_limiter.failures
    counter("rate_limits_failed_open", "Requests admitted uncounted, for want of an answer.", lambda: failures["open"])
    counter("rate_limits_failed_closed", "Logins refused for want of an answer.", lambda: failures["closed"])
    counter("log_lines_dropped", "Lines of the log that nobody read in time.", lambda: log_writer.dropped)
    app.state.maintenance.report_to(metrics)
    return metrics


def _add_routes(app: FastAPI) -> None:
    add_documentation(app)
    for router in (router for feature in app.state.features for router in feature.routers):
        # Included, each route would be built a second time.
        app.router.routes += router.routes


class _Application(FastAPI):
    """FastAPI with what must happen around all of it, its own middleware included."""

    wrap: Callable[[ASGIApp], ASGIApp]
    # Known with the first request: FastAPI sets its telemetry up when the application starts.
    is_untraced = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; without telemetry past FastAPI, which takes 7 us for each to find that there is none."""
        if self.is_untraced and scope["type"] == "http" and self.middleware_stack is not None:
            scope["app"] = self
            await self.middleware_stack(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """Return FastAPI's middleware inside of ours."""
        stack = self.wrap(super().build_middleware_stack())

        async def look_for_telemetry(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                self.is_untraced = not has_telemetry(scope)
                self.middleware_stack = stack
            await stack(scope, receive, send)

        look_for_telemetry.app = stack  # type: ignore[attr-defined]  # where FastAPI looks for other telemetry
        return look_for_telemetry


def _front(app: FastAPI, settings: Settings, inner: ASGIApp) -> ASGIApp:
    """Return the layer around all requests; `inner` is FastAPI itself, which gets what is not HTTP."""
    state = app.state
    table = RouteTable(app)
    bound: dict[Endpoint, BoundRoute] = {}
    if settings.share_statements:
        bound = bind_all(app, table)
    around = Surroundings(
        cors=Cors(
            settings.allowed_origins,
            allow_credentials=settings.cors_allow_credentials,
            allow_local=settings.allow_local_origins,
            names_refused=settings.debug,
        ),
        drain=state.drain,
        metrics=state.metrics,
        client_address=state.client_addresses.find,
        path_prefix=state.path_prefixes.find,
        max_in_flight=settings.max_requests_in_flight,
        max_body_bytes=settings.max_body_bytes,
        admissions=[feature.admit for feature in state.features if feature.admit is not None],
    )
    return Front(inner, inner=table.dispatch, table=table, around=around, bound=bound)
