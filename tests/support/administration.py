"""Requests to the routes of administration."""

import httpx

from tests.support.credentials import API

CONFIGURED = "a configured key of more than 32 characters"
ROUTES = [
    ("GET", "/admin/users"),
    ("POST", "/admin/users/{id}/disable"),
    ("POST", "/admin/users/{id}/enable"),
    ("GET", "/admin/projects/without-owner"),
    ("DELETE", "/admin/clear-tasks"),
]


async def call(client: httpx.AsyncClient, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    """Call a path under the API's prefix."""
    return await client.request(method, API + path, headers=headers)
