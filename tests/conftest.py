"""A real server for each worker, a migrated template database and a clone of it, and people to act.

Servers are not shared: a transaction that one worker leaves open holds up the event log of all databases of a server.
"""

import gc
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import httpx
import pytest
from alembic import command
from argon2 import PasswordHasher as Argon2
from fastapi import FastAPI

from taskmanager.accounts.password import hashing
from taskmanager.accounts.repository import AccountWriter, StoredLogin
from taskmanager.database.checks import table_modules
from taskmanager.database.database import Base, Database
from taskmanager.database.schema_migrations import alembic_config
from taskmanager.database.statements import Statement
from taskmanager.main import create_app
from taskmanager.settings import Settings
from tests.support.documented_statuses import DocumentedStatuses
from tests.support.live_server import RATE_LIMITS, SHORT_STREAMS, LiveServer
from tests.support.pgbouncer import end_without_pooler, pooled_run, through_pooler, wanted_mode
from tests.support.recorded_statements import recorded_statements
from tests.support.server import database_on, execute_on, find_server
from tests.support.sessions import engine_of
from tests.support.this_process import drop_log_lines, keep_bytecode

TEMPLATE = f"taskmanager_template_{os.getpid()}"
PASSWORD = "correct horse battery"
_ARGON2 = "taskmanager.accounts.password.hashing._ARGON2"
_SERVICE_ARGON2 = hashing._ARGON2  # put aside, for the tests that are about it
# Of a password in a test nothing depends on how long it takes to guess.
_CHEAP_ARGON2 = Argon2(time_cost=1, memory_cost=8, parallelism=1)
PASSWORD_HASH = _CHEAP_ARGON2.hash(PASSWORD)
SECRET = "a secret for tests only, of more than 32 bytes"
METRICS_TOKEN = "a token for metrics in tests, of more than 32 bytes"
for _module in table_modules():
    import_module(_module)
# What positions in the event log belong to comes with the schema.
_TABLES = [table.name for table in reversed(Base.metadata.sorted_tables) if table.name != "event_log"]
# In one round trip, which is a transaction. A log without events is whole from its start on.
_WHOLE_LOG = (
    "UPDATE event_log SET floor_era = 0, floor_xid = '0', floor_id = 0 WHERE (floor_era, floor_xid) <> (0, '0')"
)
_DELETE_ALL = ";".join([*(f"DELETE FROM {table}" for table in _TABLES), _WHOLE_LOG])

_FIND_INBOX = Statement("find inbox", "SELECT id FROM projects WHERE inbox_of = :user_id")

_resources = ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    """Start a server in each process that runs tests."""
    drop_log_lines()
    keep_bytecode()
    # As the service has it: requests leave few cycles behind.
    gc.set_threshold(20_000, 20, 50)
    patch = _resources.enter_context(pytest.MonkeyPatch.context())
    for name, value in {_ARGON2: _CHEAP_ARGON2, **SHORT_STREAMS}.items():
        patch.setattr(name, value)
    # httpx looks for it with every request, which takes longer than not to find it.
    sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]
    if config.option.collectonly:
        return
    end_without_pooler()
    if distributes(config):
        return
    server_url = _resources.enter_context(find_server().start())
    execute_on(server_url, f"CREATE DATABASE {TEMPLATE}")
    _resources.callback(execute_on, server_url, f"DROP DATABASE {TEMPLATE} WITH (FORCE)")
    command.upgrade(alembic_config(database_on(server_url, TEMPLATE)), "head")
    config.stash[_SERVER_URL] = server_url
    _resources.enter_context(pooled_run(server_url))


def distributes(config: pytest.Config) -> bool:
    """Return whether other processes, the workers of xdist, run the tests of this one."""
    return not hasattr(config, "workerinput") and config.getoption("dist", "no") != "no"


def pytest_report_header(config: pytest.Config) -> str:
    """Say which server the tests run on."""
    pooler = f", through PgBouncer in {wanted_mode()} mode" if wanted_mode() else ""
    return f"PostgreSQL: {find_server().origin}{pooler}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put what takes long first; leave out of a run through PgBouncer what has no database, or is about the server."""
    # Otherwise some processes have nothing to do at the end.
    items.sort(key=lambda item: item.get_closest_marker("takes_long") is None)
    if wanted_mode() is None:
        return
    chosen: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        names = getattr(item, "fixturenames", ())
        has_database = "database_url" in names or item.get_closest_marker("through_pooler")
        (chosen if has_database else others).append(item)
        if mark := item.get_closest_marker("server_itself"):
            item.add_marker(pytest.mark.skip(reason=f"{item.name}: {mark.args[0]}"))
    items[:] = chosen
    config.hook.pytest_deselected(items=others)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the server."""
    _resources.close()


_SERVER_URL = pytest.StashKey[str]()


@pytest.fixture(scope="session")
def database_url(request: pytest.FixtureRequest, worker_id: str) -> Iterator[str]:
    """URL of this worker's own database, with the current schema and no rows."""
    server_url = request.config.stash[_SERVER_URL]
    name = f"{TEMPLATE}_{worker_id}"
    execute_on(server_url, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    yield database_on(server_url, name)
    execute_on(server_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def settings(database_url: str) -> Settings:
    """The settings of the application under test."""
    return make_settings(
        database_url=database_url,
        metrics_token=METRICS_TOKEN,
        webhook_allowed_hosts="127.0.0.1",  # where receivers listen in tests
        webhook_allowed_networks="127.0.0.1",
    )


def make_settings(**values: Any) -> Settings:
    """Return settings that come from the test alone, not from the environment.

    Without them nothing is rate limited, and no webhook is sent: receivers of most tests do not exist.
    """
    defaults = {"secret_key": SECRET, "webhooks_enabled": False, "_env_file": None, **dict.fromkeys(RATE_LIMITS, 0)}
    if url := values.get("database_url"):
        values["database_url"] = through_pooler(url)
    return Settings(**{**defaults, **values})


@pytest.fixture(scope="session")
async def app(settings: Settings) -> AsyncIterator[FastAPI]:
    """The real application, with its lifespan."""
    app = create_app(settings)
    app.state.maintenance.stop()  # tests run its jobs themselves
    # All tests and this application stay until the end; each full collection would look through them again.
    gc.collect()
    gc.freeze()
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def database(app: FastAPI) -> AsyncIterator[Database]:
    """The application's database; its rows are deleted after the test."""
    database: Database = app.state.database
    yield database
    async with engine_of(database).connect() as connection:
        driver_connection = (await connection.get_raw_connection()).driver_connection
        assert driver_connection is not None
        await driver_connection.execute(_DELETE_ALL)


def client_for(app: FastAPI, **options: Any) -> httpx.AsyncClient:
    """Return a client that talks to the application without a socket, and knows which answers are documented.

    It holds nothing that would have to be closed.
    """
    if not hasattr(app.state, "documented_statuses"):
        app.state.documented_statuses = DocumentedStatuses(app)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    hooks = {"response": [app.state.documented_statuses]}
    return httpx.AsyncClient(transport=transport, base_url="http://test", event_hooks=hooks, **options)


@pytest.fixture
def client(app: FastAPI, database: Database) -> httpx.AsyncClient:
    """A client without credentials."""
    return client_for(app)


@dataclass
class Person:
    """Somebody with an account, logged in."""

    id: int
    username: str
    session_id: int
    token: str
    client: httpx.AsyncClient
    inbox_id: int = 0
    api: str = field(default="/api/v1", repr=False)

    async def request(self, method: str, path: str, expect: int | None = None, **options: Any) -> httpx.Response:
        """Call a path under the API's prefix and check the status."""
        response = await self.client.request(method, f"{self.api}{path}", **options)
        if expect is not None:
            assert response.status_code == expect, (response.status_code, response.text)
        return response

    async def get(self, path: str, expect: int | None = 200, **options: Any) -> httpx.Response:
        """GET a path."""
        return await self.request("GET", path, expect, **options)

    async def post(self, path: str, json: Any = None, expect: int | None = 201, **options: Any) -> httpx.Response:
        """POST a JSON body."""
        return await self.request("POST", path, expect, json=json, **options)

    async def patch(self, path: str, json: Any, expect: int | None = 200, **options: Any) -> httpx.Response:
        """PATCH with a JSON body."""
        return await self.request("PATCH", path, expect, json=json, **options)

    async def put(self, path: str, json: Any, expect: int | None = 200, **options: Any) -> httpx.Response:
        """PUT a JSON body."""
        return await self.request("PUT", path, expect, json=json, **options)

    async def delete(self, path: str, expect: int | None = 204, **options: Any) -> httpx.Response:
        """DELETE a path."""
        return await self.request("DELETE", path, expect, **options)

    async def new_task(self, project_id: int | None = None, **values: Any) -> dict[str, Any]:
        """Create a task and return it."""
        body = {"title": "A task", **values, **({"project_id": project_id} if project_id else {})}
        task: dict[str, Any] = (await self.post("/tasks", body)).json()
        return task

    async def new_project(self, name: str = "A project") -> int:
        """Create a project and return its id."""
        return int((await self.post("/projects", {"name": name})).json()["id"])


SignUp = Callable[..., Awaitable[Person]]


@pytest.fixture
def sign_up(app: FastAPI, database: Database) -> SignUp:
    """Make people: `await sign_up("alice")`."""

    async def make(username: str, *, is_admin: bool = False) -> Person:
        password_hash = hashing._ARGON2.hash(PASSWORD)  # as costly as the test wants it
        async with app.state.writes.transaction() as run:
            writer = AccountWriter(run)
            account = await writer.create(
                username=username,
                email=f"{username}@example.com".lower(),
                password_hash=password_hash,
                is_admin=is_admin,
            )
            session_id = await writer.start_session(StoredLogin(account.id, password_hash), "tests")
            inbox_id = (await run.one(_FIND_INBOX, user_id=account.id))["id"]
        token = app.state.token_signer.access_token(account.id, session_id)
        client = client_for(app, headers={"Authorization": f"Bearer {token}"})
        return Person(account.id, username, session_id, token, client, inbox_id)

    return make


@pytest.fixture
async def alice(sign_up: SignUp) -> Person:
    """A person."""
    return await sign_up("alice")


@pytest.fixture
async def bob(sign_up: SignUp) -> Person:
    """Another person, a stranger to the first."""
    return await sign_up("bob")


@pytest.fixture
def costly_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let hashes of passwords cost what they cost in the service."""
    monkeypatch.setattr(_ARGON2, _SERVICE_ARGON2)


@pytest.fixture
def patient_limiter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the rate limiter wait for the database, however busy the machine is."""
    monkeypatch.setattr("taskmanager.rate_limits.asking._PATIENCE_SECONDS", 20.0)
    monkeypatch.setattr("taskmanager.rate_limits.asking._STATEMENT_MS", 20_000)
    monkeypatch.setattr("taskmanager.rate_limits.asking._ANSWER_SECONDS", 20.0)


@pytest.fixture
def query_recorder(database: Database) -> Iterator[list[str]]:
    """The statements that the application sends while the test runs."""
    with recorded_statements(database) as statements:
        yield statements


@pytest.fixture(scope="session")
def live_server(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """The service as a process of its own, on this worker's database."""
    server = LiveServer({"DATABASE_URL": database_url, "SECRET_KEY": SECRET}, tmp_path_factory.mktemp("server") / "log")
    server.start()
    yield server
    server.stop()
