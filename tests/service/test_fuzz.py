"""Generated requests over the whole API, as two users, on the running server: no 5xx, nothing undocumented.

`FUZZ_EXAMPLES` sets how many requests are generated for each operation.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import schemathesis

from taskmanager.database.database import Database
from tests.support import fuzz_hooks
from tests.support.live_server import LiveServer

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "5"))
# The second user makes other requests by chance; those of the coverage phase are the same for all.
PHASES = {"fuzzer_one": "examples,coverage,fuzzing", "fuzzer_two": "examples,fuzzing"}
FEWEST = {"fuzzer_one": 2_500, "fuzzer_two": 50 * EXAMPLES}
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
)
# These could end the login or the account that the requests are made with.
LEFT_OUT = ("/api/v1/users/me/sessions/{session_id}", "/api/v1/users/me/delete")


def credentials(server: LiveServer, username: str) -> str:
    """Register a user with something to find and return their `Authorization` header."""
    with httpx.Client(base_url=f"{server.url}/api/v1", verify=False) as client:
        password = "fuzzing is fun"
        account = {"username": username, "email": f"{username}@example.com", "password": password}
        assert client.post("/users", json=account).status_code == 201
        token = client.post("/token", data={"username": username, "password": password}).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        for number in range(3):
            task = client.post("/tasks", json={"title": f"Task {number}"}).json()
            client.post(f"/tasks/{task['id']}/comments", json={"body": f"@{username}"})
        return f"Bearer {token}"


@pytest.mark.takes_long
@pytest.mark.parametrize("username", PHASES)
def test_no_generated_request_is_answered_wrongly(
    live_server: LiveServer, database: Database, username: str, tmp_path: Path
) -> None:
    started = time.monotonic()
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{live_server.url}/openapi.json"),
        *("--header", f"Authorization: {credentials(live_server, username)}"),
        *("--phases", PHASES[username], "--max-examples", str(EXAMPLES)),
        *("--checks", ",".join(CHECKS), "--continue-on-failure", "--suppress-health-check", "all"),
        *("--generation-database", "none", "--no-color", "--warnings", "off", "--request-timeout", "10"),
        *(option for path in LEFT_OUT for option in ("--exclude-path", path)),
    ]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": fuzz_hooks.__file__,
        # Where Hypothesis finds the tables of characters that it would work out for many seconds.
        "HYPOTHESIS_STORAGE_DIRECTORY": str(Path(__file__).parents[2] / ".hypothesis"),
        # Nothing is looked up for each request.
        "NO_PROXY": "*",
    }
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    generated = re.search(r"(\d+) generated", result.stdout)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    assert generated is not None
    print(f"{username}: {generated[1]} cases in {time.monotonic() - started:.0f} s, 0 failures")
    assert int(generated[1]) >= FEWEST[username]
    with httpx.Client(base_url=live_server.url, verify=False) as client:
        assert client.get("/health").json() == {"status": "healthy"}


def test_only_a_query_that_is_valid_as_sent_may_be_accepted() -> None:
    description = schemathesis.openapi.from_path(Path(__file__).parents[2] / "docs" / "openapi.json")
    operation = description["/api/v1/tasks"]["GET"]
    for query in (
        "",
        "overdue=false",
        "overdue=True&limit=5",
        "status=pending",
        "assignee=me&assignee=7",
        "status=",
        "due_after=",
        "status=&status=pending",
        "tag=%0Ca%20",
        "foreign=1",
    ):
        assert fuzz_hooks.query_is_valid_as_sent(operation, f"http://x/api/v1/tasks?{query}"), query
    for query in (
        "overdue=maybe",
        "overdue=false&overdue=true",
        "overdue=false&limit=1000",
        "limit=true",
        "status=new",
        "limit=",
        "limit=1%20",
        "tag=a%0Cb",
        "sort_by=",
    ):
        assert not fuzz_hooks.query_is_valid_as_sent(operation, f"http://x/api/v1/tasks?{query}"), query
    deletion = description["/api/v1/tasks/bulk"]["DELETE"]
    assert fuzz_hooks.query_is_valid_as_sent(deletion, "http://x/api/v1/tasks/bulk?id=1")
    assert not fuzz_hooks.query_is_valid_as_sent(deletion, "http://x/api/v1/tasks/bulk")
