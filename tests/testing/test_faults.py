"""Faults on demand: what a client has to cope with, when its test asks for it."""

import time

import httpx
import pytest

TASKS = "/api/v1/tasks"


@pytest.fixture
async def user(testing: httpx.AsyncClient) -> dict[str, str]:
    found = (await testing.post("/testing/users")).json()
    return {"Authorization": f"Bearer {found['access_token']}"}


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [("503", 503, "overloaded"), ("429", 429, "rate-limited"), (" 503 ", 503, "overloaded")],
)
async def test_a_refusal_is_that_of_the_service_and_nothing_is_done(
    testing: httpx.AsyncClient, user: dict[str, str], fault: str, status: int, kind: str
) -> None:
    headers = {**user, "Testing-Fault": fault, "Origin": "http://localhost:3000"}
    refused = await testing.post(TASKS, json={"title": "Dig"}, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (status, f"{kind}")
    assert refused.headers["Retry-After"] == "1"
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    assert (await testing.get(TASKS, headers=user)).json()["tasks"] == []


async def test_a_delay_comes_before_the_work(testing: httpx.AsyncClient, user: dict[str, str]) -> None:
    began = time.monotonic()
    late = await testing.post(TASKS, json={"title": "Dig"}, headers={**user, "Testing-Fault": "delay=150"})
    assert time.monotonic() - began >= 0.15
    assert late.status_code == 201


async def test_a_refusal_may_be_late(testing: httpx.AsyncClient, user: dict[str, str]) -> None:
    began = time.monotonic()
    refused = await testing.get(TASKS, headers={**user, "Testing-Fault": "503, delay=150"})
    assert time.monotonic() - began >= 0.15
    assert refused.status_code == 503


@pytest.mark.parametrize(
    "fault",
    ["", "500", "delay", "delay=", "delay=-1", "delay=1.5", "delay=01", "delay=60001", "503, 429", "503;delay=1"],
)
async def test_anything_else_is_refused(testing: httpx.AsyncClient, user: dict[str, str], fault: str) -> None:
    refused = await testing.get(TASKS, headers={**user, "Testing-Fault": fault})
    assert (refused.status_code, refused.json()["code"]) == (400, "malformed-header")
    assert "Testing-Fault" in refused.json()["detail"]


async def test_pages_of_other_origins_may_send_the_header(testing: httpx.AsyncClient) -> None:
    headers = {
        "Origin": "http://localhost:3000",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "testing-fault",
    }
    preflight = await testing.options(TASKS, headers=headers)
    assert preflight.status_code == 200
    assert "testing-fault" in preflight.headers["Access-Control-Allow-Headers"]
