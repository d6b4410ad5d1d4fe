"""Serves the page at /app and its files below /app/assets; `make app` builds them from clients/board."""

from typing import Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from taskmanager.http.packaged_files import PackagedFiles, html_page

_FILES: Final = PackagedFiles(
    __package__,
    {"board.js": "text/javascript", "board-style.css": "text/css", "favicon.svg": "image/svg+xml"},
)
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# All is relative to the page, so it works below any prefix.
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Tasks</title>
<link rel="icon" href="app/assets/{icon}">
<link rel="stylesheet" href="app/assets/{style}">
<script type="module" src="app/assets/{script}"></script>
</head>
<body>
<noscript>This page needs JavaScript.</noscript>
<div id="app"></div>
</body>
</html>
"""


def prepare(app: FastAPI) -> None:
    """Add the page and its files to an application, unless its settings turn it off."""
    if app.state.settings.web_app:
        app.add_route("/app", _serve_page, include_in_schema=False)
        app.add_route("/app/assets/{name}", _FILES.serve, include_in_schema=False)


def _serve_page(_: Request) -> Response:
    versions = {
        "icon": _FILES.version("favicon.svg"),
        "style": _FILES.version("board-style.css"),
        "script": _FILES.version("board.js"),
    }
    return html_page(_PAGE.format(**versions), _POLICY)
