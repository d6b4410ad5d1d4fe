"""Problem answers, as several files of tests read them."""

import json
from typing import Any

import httpx

JSON = {"Content-Type": "application/json"}


def assert_problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """Check that a response is a problem document (RFC 9457) and return it."""
    assert response.status_code == status, (response.status_code, response.text[:500])
    assert response.headers["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = json.loads(response.content.decode("utf-8"))
    assert problem["status"] == status
    assert problem["type"].endswith(f"/docs/problems#{problem['code']}")
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == response.headers["X-Request-ID"]
    known = {"type", "code", "title", "status", "detail", "instance", "request_id"}
    if status == 422:
        of_oauth = {"error", "error_description"} if problem["instance"] == "/api/v1/token" else set[str]()
        assert set(problem) == {*known, "errors", *of_oauth}
        assert problem["errors"]
        assert all(
            {"loc", "msg", "type"} <= set(error) <= {"loc", "msg", "type", "limits"} for error in problem["errors"]
        )
    return problem


def kind_of(response: httpx.Response) -> str:
    """Return the kind of a problem."""
    return str(response.json()["type"]).removeprefix("/docs/problems#")
