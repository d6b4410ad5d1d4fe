"""The page to which the type of every problem leads."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from fastapi import FastAPI

from taskmanager.documentation.pages import add_documentation
from taskmanager.http.problem_kinds import PROBLEM_KINDS, PROBLEMS_PAGE
from taskmanager.http.problems import DOMAIN_ANSWERS
from tests.support.problem_answers import assert_problem, kind_of

TESTS = Path(__file__).parents[1]
# Anything unforeseen; `tests/service/test_faults.py` makes it happen.
NOT_OF_AN_ERROR = {"internal", "method-not-allowed", "cors-refused", "malformed-request", "headers-too-large"}


class IdParser(HTMLParser):
    """Collects the ids of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value or "" for name, value in attrs if name == "id"]


async def test_the_page_has_every_kind(client: httpx.AsyncClient) -> None:
    page = await client.get(PROBLEMS_PAGE)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert IdParser(page.text).ids == list(PROBLEM_KINDS)
    assert page.headers["content-security-policy"] == (await client.get("/docs")).headers["content-security-policy"]
    assert "<script" not in page.text
    assert not re.search(r"\sstyle=|\son\w+=", page.text)


async def test_the_type_of_a_problem_leads_to_it(client: httpx.AsyncClient) -> None:
    problem = (await client.get("/nowhere")).json()
    assert problem["code"] == "not-found"
    page, _, fragment = urljoin("http://test/nowhere", problem["type"]).partition("#")
    assert fragment in IdParser((await client.get(page)).text).ids


async def test_it_works_below_a_prefix() -> None:
    app = FastAPI(title="Tasks", docs_url=None, redoc_url=None)
    add_documentation(app)
    transport = httpx.ASGITransport(app=app, root_path="/prefix")
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        page = await client.get(f"/prefix{PROBLEMS_PAGE}")
        references = re.findall(r'href="([^"]+)"', page.text)
        assert len(references) == 2
        for reference in references:
            assert (await client.get(urljoin(f"/prefix{PROBLEMS_PAGE}", reference))).status_code == 200


def test_the_table_has_every_kind_that_is_answered() -> None:
    source = (TESTS.parent / "src/taskmanager/http/problems.py").read_text()
    answered = set(re.findall(r'Answer\(\s*"([a-z-]+)"', source))
    assert answered | NOT_OF_AN_ERROR == set(PROBLEM_KINDS)
    assert len(DOMAIN_ANSWERS) >= len(answered) - 2


# Of the kinds that no other test names.
REQUESTS: dict[str, dict[str, Any]] = {
    "invalid-grant": {"url": "/api/v1/token", "data": {"grant_type": "refresh_token", "refresh_token": "garbage"}},
    "unsupported-grant-type": {"url": "/api/v1/token", "data": {"grant_type": "client_credentials"}},
    "cors-refused": {
        "method": "OPTIONS",
        "url": "/api/v1/tasks",
        "headers": {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"},
    },
    "method-not-allowed": {"url": "/health"},
    "unsupported-content-type": {"url": "/api/v1/users", "content": "a", "headers": {"Content-Type": "text/plain"}},
    "invalid": {"url": "/api/v1/users", "json": {}},
}


@pytest.mark.parametrize("code", REQUESTS)
async def test_a_request_provokes_it(client: httpx.AsyncClient, code: str) -> None:
    answer = await client.request(**{"method": "POST", **REQUESTS[code]})
    assert_problem(answer, PROBLEM_KINDS[code].status)
    assert kind_of(answer) == code


@pytest.mark.parametrize("code", sorted(PROBLEM_KINDS.keys() - REQUESTS.keys()))
def test_some_test_provokes_it(code: str) -> None:
    pattern = re.compile(rf'["#]{code}["\']')
    assert any(pattern.search(path.read_text()) for path in TESTS.rglob("*.py") if path != Path(__file__))
