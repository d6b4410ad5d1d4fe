"""Memory of a worker stays flat whatever callers vary: filters, orders, pages, paths, headers, keys, tags, credentials.

Takes five minutes, so it runs only when named: `pytest -s tests/long/test_memory.py`. `MEMORY_SECONDS` is how long.
"""

import asyncio
import json
import os
import random
import string
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from taskmanager.accounts.tokens import TokenSigner
from tests.conftest import SECRET, Person
from tests.support.credentials import API
from tests.support.live_server import LiveServer

SECONDS = int(os.environ.get("MEMORY_SECONDS", "300"))
CLIENTS = 32
SAMPLES = 20
MOST_MEGABYTES = 150
# Of the last three quarters of the run: what is kept on purpose fills up in the first.
MOST_GROWTH_MEGABYTES = 5


def word(least: int = 1, most: int = 20) -> str:
    """Return a random word."""
    return "".join(random.choices(string.ascii_lowercase, k=random.randint(least, most)))


def some(values: list[str], most: int = 3) -> list[str]:
    """Return some of the values, in any order."""
    return random.sample(values, k=random.randint(1, min(most, len(values))))


def any_query(people: list[Person]) -> list[tuple[str, str]]:
    """Return the query of a list of tasks, with each parameter that there is given or left out."""
    moment = f"20{random.randint(10, 40)}-0{random.randint(1, 9)}-01T00:00:00Z"
    choices: dict[str, list[str]] = {
        "status": some(["pending", "in_progress", "completed", "cancelled"], 4),
        "priority": some(["1", "2", "3", "4", "5"], 5),
        "tag": [word() for _ in range(random.randint(1, 4))],
        "assignee": some(["me", *(str(person.id) for person in people), str(random.randint(1, 10**9))], 4),
        "due_after": ["2001-01-01T00:00:00Z"],
        "due_before": [moment],
        "overdue": [random.choice(["true", "false"])],
        "search": [word(1, 60)],
        "sort_by": [random.choice(["created_at", "updated_at", "priority", "title", "due_at"])],
        "order": [random.choice(["asc", "desc"])],
        "limit": [str(random.randint(1, 100))],
        "count": [random.choice(["exact", "none"])],
        "skip": [str(random.randint(0, 100))],
        "unknown_" + word(): [word()],
    }
    rare = {"unknown_": 0.05}
    given = [name for name in choices if random.random() < rare.get(name[:8], 0.3)]
    return [(name, value) for name in given for value in choices[name]]


def any_headers() -> str:
    """Return headers that a caller may vary."""
    choices = {
        "X-Request-ID": word(8, 128),
        "User-Agent": word(1, 400),
        "Origin": random.choice([f"https://{word(3, 30)}.example.com", "https://" + word(3_000, 30_000)]),
        "Traceparent": f"00-{random.getrandbits(128):032x}-{random.getrandbits(64):016x}-01",
        "If-None-Match": f'"{random.randint(1, 10**6)}", "{word()}"',
        "X-Forwarded-For": f"{random.randint(1, 250)}.{random.randint(0, 250)}.1.1, {word()}",
        "Accept-Language": word(1, 500),
        f"X-{word()}": word(1, 2_000),
    }
    return "".join(f"{name}: {value}\r\n" for name, value in choices.items() if random.random() < 0.25)


class Caller:
    """Sends requests over one connection, which it opens anew when the service closes it."""

    def __init__(self, url: str, people: list[Person], statuses: Counter[int]) -> None:
        self._address = urlsplit(url)
        self._people = people
        self._statuses = statuses
        self._signer = TokenSigner(
            [b"another secret than the service's, of more than 32 bytes"], access_token_minutes=5
        )
        self._paths: list[str] = ["/tasks"]

    async def run(self, until: float) -> None:
        """Send any requests until a moment of `time.monotonic`."""
        reader = writer = None
        while time.monotonic() < until:
            if writer is None or writer.is_closing():
                reader, writer = await asyncio.open_connection(self._address.hostname, self._address.port)
            assert reader is not None
            writer.write(self._any_request())
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.lower().splitlines()
            length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
            body = await reader.readexactly(length)
            self._statuses[int(head.split(b" ", 2)[1])] += 1
            if b"connection: close" in lines:
                writer.close()
                writer = None
            if head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")) and body.startswith(b"{"):
                self._learn(json.loads(body))
        if writer is not None:
            writer.close()

    def _learn(self, answer: dict[str, object]) -> None:
        if isinstance(cursor := answer.get("next_cursor"), str):
            self._paths.append(f"/tasks?{urlencode({'cursor': cursor})}")
        if isinstance(answer.get("title"), str):
            self._paths.append(f"/tasks/{answer['id']}")
        del self._paths[:-50]

    def _any_request(self) -> bytes:
        person = random.choice(self._people)
        credential = random.choices(
            [f"Bearer {person.token}", f"Bearer {self._signer.access_token(person.id, 1)}", word(1, 3_000), None],
            weights=[90, 3, 3, 4],
        )[0]
        method, path, body = self._any_call()
        headers = any_headers()
        if credential is not None:
            headers += f"Authorization: {credential}\r\n"
        if body is not None:
            headers += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            if random.random() < 0.5:
                headers += f"Idempotency-Key: {word(1, 255)}\r\n"
        return f"{method} {API}{path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n{body or ''}".encode()

    def _any_call(self) -> tuple[str, str, str | None]:
        task = random.choice(self._paths[-10:])
        task = task if "?" not in task and task != "/tasks" else f"/tasks/{random.randint(1, 10**9)}"
        inbox = f"/projects/{random.choice(self._people).inbox_id}"
        query = urlencode(any_query(self._people))
        kind = random.random()
        if kind < 0.6:
            return "GET", random.choice([f"/tasks?{query}", f"{inbox}/tasks?{query}"]), None
        if kind < 0.75:
            new = {"title": word(1, 200), "tags": [word() for _ in range(random.randint(0, 20))], "description": word()}
            return "POST", "/tasks", json.dumps(new)
        if kind < 0.8:
            return random.choice(["PATCH", "PUT"]), task, json.dumps({random.choice(["title", "x" + word()]): word()})
        if kind < 0.83:
            return "POST", f"{task}/comments", json.dumps({"body": f"@{word(3, 50)} {word(1, 2_000)}"})
        reads = ["/projects", inbox, f"{inbox}/members", f"{inbox}/activity", "/notifications", "/users/me", task]
        reads += [f"{task}/comments", f"{task}/activity", "/users/me/sessions", random.choice(self._paths)]
        return random.choice(
            [
                ("GET", random.choice(reads), None),
                ("GET", f"/{word()}/{word(1, 2_000)}?{word()}={word(1, 10_000)}", None),
                (word(3, 10).upper(), task, None),
                ("OPTIONS", task, None),
            ]
        )


def resident_megabytes(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6


async def test_memory_stays_flat_under_any_input(alice: Person, bob: Person, database_url: str, tmp_path: Path) -> None:
    server = LiveServer({"DATABASE_URL": database_url, "SECRET_KEY": SECRET}, tmp_path / "log", workers=2)
    server.start()
    try:
        statuses: Counter[int] = Counter()
        until = time.monotonic() + SECONDS
        callers = [Caller(server.url, [alice, bob], statuses) for _ in range(CLIENTS)]
        running = [asyncio.create_task(caller.run(until)) for caller in callers]
        workers = server.worker_pids
        samples = [[resident_megabytes(pid) for pid in workers]]
        for _ in range(SAMPLES):
            await asyncio.sleep(SECONDS / SAMPLES)
            samples.append([resident_megabytes(pid) for pid in workers])
            print(f"{sum(statuses.values()):>9,} requests, MB: " + " ".join(f"{one:.1f}" for one in samples[-1]))
        await asyncio.gather(*running)
        print(dict(sorted(statuses.items())))
        assert server.worker_pids == workers
    finally:
        server.stop()
    assert not any(status >= 500 for status in statuses)
    for worker in zip(*samples, strict=True):
        assert max(worker) < MOST_MEGABYTES
        settled = worker[SAMPLES // 4 :]
        assert max(settled[-3:]) - settled[0] < MOST_GROWTH_MEGABYTES
