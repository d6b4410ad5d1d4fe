"""What the long tests share: the service as processes of its own, and people who call it there.

Each long test is run by its path, for example `pytest -s tests/long/test_idempotency_storm.py`.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace

import httpx
import pytest

from tests.conftest import SECRET, Person
from tests.support.credentials import bearer
from tests.support.live_server import LiveServer

At = Callable[[Person], Person]


@pytest.fixture(scope="session")
def two_workers(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """The service with two processes, on this worker's database."""
    log = tmp_path_factory.mktemp("server") / "log"
    server = LiveServer({"DATABASE_URL": database_url, "SECRET_KEY": SECRET}, log, workers=2)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def there(two_workers: LiveServer) -> AsyncIterator[At]:
    """Take people to the processes."""
    clients: list[httpx.AsyncClient] = []

    def at(person: Person) -> Person:
        limits = httpx.Limits(max_connections=64)
        client = httpx.AsyncClient(
            base_url=two_workers.url, headers=bearer(person.token), limits=limits, timeout=httpx.Timeout(60)
        )
        clients.append(client)
        return replace(person, client=client)

    yield at
    for client in clients:
        await client.aclose()
