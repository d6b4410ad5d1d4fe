"""A read that also checks its login gives the same rows as the plain one, and says of each login whether it holds."""

import importlib
import pkgutil
from collections.abc import Iterable, Sequence
from itertools import cycle, islice
from typing import Any

import asyncpg
import pytest
from fastapi import FastAPI
from sqlalchemy import make_url

import taskmanager
from taskmanager.accounts.callers import RequestReads, _with_login
from taskmanager.database.database import Database
from taskmanager.database.reads import Begun
from taskmanager.database.statements import Arguments, Statement, Write
from taskmanager.tasks.counting.schemas import CountBy
from taskmanager.tasks.counting.statements import counts_of_few
from taskmanager.tasks.listing.few import page_of_few
from taskmanager.tasks.listing.filters import FiltersOfFew
from taskmanager.tasks.listing.statements import SHARED_PAGES
from tests.conftest import Person, SignUp, client_for
from tests.support.access_world import make_webhook
from tests.support.credentials import log_in
from tests.support.rows import execute, fetch_one
from tests.support.server import connect

Values = dict[str, Any]
# Of routes without a compiled handler, or what looks callers and their passwords up itself.
NOT_OF_HANDLERS = {"find caller", "find login", "find login of user", "list users", "open stream"}
SORTS = ("created_at", "updated_at", "due_at", "priority", "title")
COUNTED_BY = ("status", "project", "assignee", "priority", "section", "due", "tag")
FILTERS = (
    *("status=pending", "status=pending&status=completed", "priority=1&priority=3", "tag=a", "assignee=me"),
    *("overdue=true", "due=week&created_by=me", "due=none"),
)
# However few tasks there are, so far behind nothing is shared.
ALONE = (
    "skip=600&count=none",
    "skip=501&count=exact",
    "skip=501&status=pending&tag=a",
    "skip=600&overdue=true&sort_by=due_at",
)


def declared(found: Any) -> Iterable[Statement]:
    """Yield the reads in a value of a module."""
    if isinstance(found, Statement):
        if not isinstance(found, Write):
            yield found
    elif isinstance(found, dict):
        for value in found.values():
            yield from declared(value)


def shared_names() -> set[str]:
    """Return the names of all declared statements that requests share."""
    names = set()
    for module in pkgutil.walk_packages(taskmanager.__path__, "taskmanager."):
        if not module.name.endswith("__main__"):
            for value in vars(importlib.import_module(module.name)).values():
                names |= {statement.name for statement in declared(value) if statement.is_shared}
    # Those of few tasks are made when they are needed.
    plain = FiltersOfFew(in_window=False, with_others=False)
    of_few = [*(counts_of_few(by, plain) for by in CountBy), *(page_of_few(shape, plain) for shape in SHARED_PAGES)]
    return names | {statement.name for statement in of_few if statement is not None}


@pytest.fixture
async def reads(
    alice: Person, bob: Person, database: Database, monkeypatch: pytest.MonkeyPatch
) -> dict[Statement, list[Values]]:
    """All reads of Alice's and Bob's requests for everything that there is, with their values."""
    project = await alice.new_project()
    await alice.post(f"/projects/{project}/members", {"username": "bob", "role": "editor"})
    for number in range(4):
        due = {"due_at": f"2030-01-0{number + 1}T00:00:00Z"} if number % 2 else {}
        await alice.new_task(project, title=f"Task {number}", tags=["a"], priority=number + 1, **due)
    task = (await alice.new_task(project, title="Task of Bob", assignee_id=bob.id))["id"]
    comment = (await alice.post(f"/tasks/{task}/comments", {"body": "Hello @bob"})).json()["id"]
    section = (await alice.post(f"/projects/{project}/sections", {"name": "Doing"})).json()["id"]
    webhook, delivery = await make_webhook(alice, project, database)
    begun: dict[Statement, list[Values]] = {}
    prepare = RequestReads.prepare

    def prepare_and_note(self: RequestReads, statement: Statement, **values: Any) -> Begun:
        begun.setdefault(statement, []).append(values)
        return prepare(self, statement, **values)

    monkeypatch.setattr(RequestReads, "prepare", prepare_and_note)
    lists = [f"/tasks?sort_by={sort}&order={order}&limit=2" for sort in SORTS for order in ("asc", "desc")]
    lists += [f"/tasks?{query}&limit=2" for query in (*FILTERS, *ALONE)]
    lists += [f"/tasks?search=task&sort_by={sort}&order={order}&limit=2" for sort in SORTS for order in ("asc", "desc")]
    lists += [f"/projects/{project}/tasks?sort_by=position&order={order}&limit=2" for order in ("asc", "desc")]
    lists += [f"/projects/{project}/tasks?sort_by=position&{of}" for of in (f"section_id={section}", "tag=a")]
    lists += [f"{path}{'&' if '?' in path else '?'}include=people&include=counts" for path in lists]
    lists += [f"/tasks/counts?by={by}" for by in COUNTED_BY]
    lists += [f"/tasks?id={task}", f"/tasks?id={task}&include=people", f"/users?id={bob.id}", "/projects?archived=true"]
    lists += [
        f"/projects/{project}/sections",
        "/notifications?include=people",
        "/notifications?unread=true&include=people",
    ]
    lists += [f"/projects/{project}/{rest}?limit=1&include=people" for rest in ("members", "activity")]
    lists += [f"/tasks/{task}/{rest}?limit=1&include=people" for rest in ("comments", "activity")]
    lists += ["/projects?limit=1", "/notifications?limit=1", "/notifications?unread=true", "/users/me/sessions"]
    lists += ["/users/me/api-keys", f"/projects/{project}/tasks?priority=5"]
    lists += [f"/projects/{project}/{rest}?limit=1" for rest in ("members", "activity", "tasks")]
    lists += [f"/tasks/{task}/{rest}?limit=1" for rest in ("comments", "activity")]
    for person in (alice, bob):
        for _ in range(2):
            await person.post("/tasks", {"title": "Once"}, headers={"Idempotency-Key": "a-key"})
    things = [f"/tasks/{task}", f"/projects/{project}", f"/projects/{project}/tasks/{task}"]
    things += [f"/tasks/{task}/comments/{comment}", f"/projects/{project}/members/{bob.id}"]
    things += [f"/projects/{project}/sections/{section}"]
    included = [f"/tasks/{task}?include=people", f"/tasks/{task}/comments/{comment}?include=people"]
    included += [f"/projects/{project}/members/{bob.id}?include=people", f"/users/{bob.id}"]
    for person in (alice, bob):
        for path in lists:
            following: str | None = f"/api/v1{path}"
            while following is not None:
                answer = await person.client.get(following)
                assert answer.status_code == 200, following
                link = answer.headers.get("Link", "")
                following = link.partition("<")[2].partition(">")[0] or None
        for path in included:
            await person.get(path)
        for path in things:
            await person.get(path)
            await person.get(path, 200 if "members" in path else 304, headers={"If-None-Match": "*"})
            await person.get(
                path.replace(str(task), "999999").replace(f"/projects/{project}", "/projects/999999"), None
            )
        near = (await person.new_task(project))["id"]
        for place in ({"at": "top"}, {"at": "bottom"}, {"before": near}, {"after": near}):
            await person.post(f"/tasks/{task}/move", place, 200)
    hooks = f"/projects/{project}/webhooks"
    for path in (hooks, f"{hooks}/{webhook}", *(f"{hooks}/{webhook}/deliveries{one}" for one in ("", f"/{delivery}"))):
        await alice.get(path)
        await bob.get(path, 403)
    return begun


@pytest.fixture
async def logins(
    alice: Person, bob: Person, database: Database, sign_up: SignUp, app: FastAPI
) -> dict[tuple[int, int], bool]:
    """Logins by session and user, and whether they hold."""
    await log_in(client_for(app), "bob")
    ended_id = (await fetch_one(database, "SELECT max(id) AS id FROM sessions WHERE user_id = :id", id=bob.id))["id"]
    await execute(database, "UPDATE sessions SET revoked_at = now() WHERE id = :id", id=ended_id)
    carol = await sign_up("carol")
    await execute(database, "UPDATE users SET disabled = true WHERE id = :id", id=carol.id)
    return {
        (alice.session_id, alice.id): True,
        (ended_id, bob.id): False,
        (alice.session_id, bob.id): False,
        (bob.session_id, bob.id): True,
        (carol.session_id, carol.id): False,
        (2**60, alice.id): False,
    }


async def rows(
    connection: "asyncpg.Connection[Any]", statement: Statement, requests: Sequence[Arguments]
) -> list[dict[str, Any] | None]:
    """Return the row of each request, or None, by the statement for as many as there are."""
    answers: list[dict[str, Any] | None] = [None] * len(requests)
    if len(requests) == 1:
        found = await connection.fetch(statement.lone, *requests[0])
        assert len(found) <= 1
        answers = [dict(found[0]) if found else None]
    else:
        for row in await connection.fetch(statement.shared, *statement.columns(requests)):
            n, *_ = row
            assert answers[n - 1] is None
            answers[n - 1] = {name: value for name, value in row.items() if name != "n"}
    return answers


@pytest.mark.parametrize("size", [1, 8])
async def test_the_rows_are_those_of_the_plain_read(
    reads: dict[Statement, list[Values]], logins: dict[tuple[int, int], bool], database_url: str, size: int
) -> None:
    assert {statement.name for statement in reads if statement.is_shared} == shared_names() - NOT_OF_HANDLERS
    assert sum(not statement.is_shared for statement in reads) >= len(ALONE)
    connection = await connect(make_url(database_url))
    found = {True: 0, False: 0}
    for statement, values in reads.items():
        # One that runs alone is never sent for many, whose plain form answers them one by one.
        batch = size if statement.is_shared else 1
        # All logins with all values, in batches that have some of each.
        given = [(login, one) for one in values for login in logins]
        given = list(islice(cycle(given), -(-len(given) // batch) * batch))
        checked = _with_login(statement)
        assert (checked.is_shared, checked.most_shared) == (statement.is_shared, statement.most_shared)
        for start in range(0, len(given), batch):
            part = given[start : start + batch]
            plain = await rows(connection, statement, [statement.arguments(one) for _, one in part])
            with_login = await rows(
                connection,
                checked,
                [
                    checked.arguments({**one, "login_session_id": session_id, "login_user_id": user_id})
                    for (session_id, user_id), one in part
                ],
            )
            for (login, _), row, answer in zip(part, plain, with_login, strict=True):
                assert answer is not None, statement.name
                assert answer.pop("login_holds") is logins[login], statement.name
                assert answer.pop("is_found") is (True if row is not None else None), statement.name
                assert answer == (row if row is not None else dict.fromkeys(answer)), statement.name
                found[row is not None] += 1
    await connection.close()
    assert min(found.values()) > 0
