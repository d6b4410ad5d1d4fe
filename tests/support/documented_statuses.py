"""Answers that the API's description does not name."""

import re
from collections import defaultdict

import httpx
from fastapi import FastAPI


class DocumentedStatuses:
    """Fails a test whose request is answered with a status that the API's description does not name."""

    def __init__(self, app: FastAPI) -> None:
        self._operations = defaultdict[str, list[tuple[re.Pattern[str], set[int]]]](list)
        for path, item in app.openapi()["paths"].items():
            pattern = re.compile(re.sub(r"\\{\w+\\}", "(?!bulk$)[^/]+", re.escape(path)))
            for method, operation in item.items():
                statuses = {int(status) for status in operation["responses"]}
                self._operations[method.upper()].append((pattern, statuses))

    async def __call__(self, response: httpx.Response) -> None:
        """Check one answer."""
        method = response.request.method.replace("HEAD", "GET")
        for pattern, statuses in self._operations[method]:
            if pattern.fullmatch(response.request.url.path):
                assert response.status_code in statuses | {500}, f"undocumented: {method} {response.request.url}"
