"""Who may do what: every route of the application, tried with every kind of credential."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from taskmanager.database.database import Database
from tests.support.access_rules import CASES, RULES, Rule, expected, filled, problem_of
from tests.support.access_world import ACTORS, MARKER, World
from tests.support.rows import digests


def _as_written(path: str) -> str:
    # The table says whose id is meant.
    return path.replace("{stranger_id}", "{user_id}").replace("{disabled_id}", "{user_id}")


def test_every_route_has_a_row_and_every_row_a_route(app: FastAPI) -> None:
    routes = {
        (method, context.path)
        for context in iter_route_contexts(app.routes)
        for method in context.methods or ()
        # HEAD is tried with every GET.
        if method != "HEAD"
    }
    assert routes == {(method, _as_written(path)) for method, path in RULES}


@pytest.mark.parametrize(("method", "path", "rule"), CASES)
async def test_access(
    client: httpx.AsyncClient, database: Database, world: World, method: str, path: str, rule: Rule
) -> None:
    before = await digests(database)
    options: dict[str, Any] = {"json": filled(rule.json, world), "data": rule.form, "params": filled(rule.query, world)}
    wrong = []
    for actor in ACTORS:
        for verb in ("GET", "HEAD") if method == "GET" else (method,):
            headers = world.headers_of(actor)
            response = await client.request(verb, world.path(path, actor), headers=headers, **options)
            status, problem = expected(rule, actor)
            cell = f"{verb} {actor.name} in {actor.header}"
            if response.status_code != status:
                wrong.append(f"{cell}: {response.status_code} instead of {status}, {response.text}")
            if verb == "HEAD":
                assert response.content == b""
                continue
            if problem_of(response) != problem:
                wrong.append(f"{cell}: {problem_of(response)} instead of {problem}")
            if problem == "scope-missing" and response.json()["scope"] not in (rule.scope or "admin").split():
                wrong.append(f"{cell}: names the scope {response.json()['scope']}")
            shown = MARKER in response.text
            if shown and (status >= 400 or not actor.is_member):
                wrong.append(f"{cell}: leaks {response.text}")
            if rule.shows and status < 400 and actor.is_member and not shown:
                wrong.append(f"{cell}: hides what a member may see: {response.text}")
            after = await digests(database)
            changed = {table for table, digest in after.items() if digest != before[table]}
            if bool(changed) != (status < 400 and method != "GET"):
                wrong.append(f"{cell}: answered {response.status_code} and changed {changed or 'nothing'}")
            if changed:
                await world.snapshot.restore(database)
    assert wrong == []
