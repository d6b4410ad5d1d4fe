"""Who may call the routes for tests: anybody, and only where an ephemeral instance serves."""

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from taskmanager.main import FEATURES
from tests.support.access_rules import RULES, TESTING
from tests.support.access_world import ACTORS, World


def routes_of(app: FastAPI) -> set[str]:
    return {
        f"{method} {context.path}"
        for context in iter_route_contexts(app.routes)
        for method in context.methods or ()
        if method != "HEAD"
    }


def test_an_ephemeral_instance_has_these_routes_beside_all_others(app: FastAPI, ephemeral_app: FastAPI) -> None:
    assert routes_of(ephemeral_app) - routes_of(app) == set(TESTING)
    assert routes_of(app) <= routes_of(ephemeral_app)


def test_no_other_application_has_them(app: FastAPI) -> None:
    assert not [path for _, path in RULES if path.startswith("/testing")]
    assert not [path for path in app.openapi()["paths"] if path.startswith("/testing")]
    assert all(feature.admit is None for feature in FEATURES)


@pytest.mark.parametrize("route", TESTING)
async def test_elsewhere_there_is_nothing_at_their_paths(client: httpx.AsyncClient, world: World, route: str) -> None:
    method, path = route.split()
    for actor in ACTORS:
        response = await client.request(method, path, headers=world.headers_of(actor), json={})
        assert (response.status_code, response.json()["code"]) == (404, "not-found")


async def test_elsewhere_the_header_for_faults_means_nothing(client: httpx.AsyncClient) -> None:
    assert (await client.get("/livez", headers={"Testing-Fault": "503"})).status_code == 200


async def test_anybody_may_call_them_whatever_they_show(testing: httpx.AsyncClient, world: World) -> None:
    # The reset comes last: it ends what everybody shows.
    for route, rule in sorted(TESTING.items(), reverse=True):
        method, path = route.split()
        for actor in ACTORS:
            response = await testing.request(method, path, headers=world.headers_of(actor))
            assert response.status_code == rule.ok, response.text
