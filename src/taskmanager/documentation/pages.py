"""Documentation that loads nothing from outside: Swagger UI at /docs, Redoc at /redoc, the problems below /docs."""

from copy import deepcopy
from functools import lru_cache
from html import escape
from typing import Any, Final

from fastapi import FastAPI
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from taskmanager.documentation.problems_page import problems_page
from taskmanager.http.packaged_files import PackagedFiles, html_page
from taskmanager.http.problem_kinds import PROBLEMS_PAGE

MEDIA_TYPES: Final = {
    "favicon.svg": "image/svg+xml",
    "pages.css": "text/css",
    "redoc-init.js": "text/javascript",
    "redoc.standalone.js": "text/javascript",
    "swagger-init.js": "text/javascript",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    # The first lines of the bundles point to these.
    "d87bcbdbea8f8f5aa26f.worker.js.LICENSE.txt": "text/plain",
    "redoc.standalone.js.LICENSE.txt": "text/plain",
    "swagger-ui-bundle.js.LICENSE.txt": "text/plain",
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
)
_SWAGGER_POLICY: Final = _POLICY + "style-src 'self'"
# Redoc adds two style elements: one empty, which it fills rule by rule, and one for its scrollbars; the policy admits
# these two texts and no others. Its search index is a worker started from a blob.
_REDOC_POLICY: Final = _POLICY + (
    "style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' "
    "'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='; worker-src blob:"
)
_FILES_OF_PROBLEMS: Final = {"favicon": "favicon.svg", "style": "pages.css"}
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="{favicon}">
{head}
</head>
<body>
<noscript>This page needs JavaScript. The same is in <a href="openapi.json">openapi.json</a>.</noscript>
<div id="documentation"></div>
</body>
</html>
"""


_FILES: Final = PackagedFiles(__package__, MEDIA_TYPES)
# Few, since the proxies of a service name them.
_KEPT_PREFIXES: Final = 8


def _url(name: str) -> str:
    # Relative, so that it holds below any path prefix.
    return f"docs/assets/{_FILES.version(name)}"


def _page(title: str, policy: str, *, styles: list[str], scripts: list[str]) -> HTMLResponse:
    links = [f'<link rel="stylesheet" href="{_url(name)}">' for name in styles]
    links += [f'<script src="{_url(name)}" defer></script>' for name in scripts]
    html = _PAGE.format(title=escape(title), favicon=_url("favicon.svg"), head="\n".join(links))
    return html_page(html, policy)


def _below(prefix: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the description of an API as clients find it below a prefix."""
    components = deepcopy(schema.get("components", {}))
    for scheme in components.get("securitySchemes", {}).values():
        for flow in scheme.get("flows", {}).values():
            # Tools resolve it against the origin, not against the server.
            flow["tokenUrl"] = prefix + flow["tokenUrl"]
    return {**schema, "servers": [{"url": prefix}], "components": components}


def add_documentation(app: FastAPI) -> None:
    """Serve Swagger UI at /docs, Redoc at /redoc, the problems below /docs, their files, and the schema.

    The schema names the prefix that the application's `state.path_prefixes` finds for a request.
    """

    # Written once: that takes 8 ms, in which no other request of the process gets on.
    @lru_cache(_KEPT_PREFIXES)
    def description(prefix: str) -> bytes:
        return to_json(_below(prefix, app.openapi()) if prefix else app.openapi())

    def describe(request: Request) -> Response:
        return Response(description(app.state.path_prefixes.find(request.scope)), media_type="application/json")

    # Plain functions run in a thread: the first call reads three megabytes.
    def swagger(_: Request) -> Response:
        return _page(
            f"{app.title} - Swagger UI",
            _SWAGGER_POLICY,
            styles=["swagger-ui.css", "pages.css"],
            scripts=["swagger-ui-bundle.js", "swagger-init.js"],
        )

    def redoc(_: Request) -> Response:
        return _page(
            f"{app.title} - Redoc",
            _REDOC_POLICY,
            styles=["pages.css"],
            scripts=["redoc.standalone.js", "redoc-init.js"],
        )

    def problems(_: Request) -> Response:
        # The page is one level below the others.
        addresses = {name: _url(file).removeprefix("docs/") for name, file in _FILES_OF_PROBLEMS.items()}
        return html_page(problems_page(app.title, **addresses), _SWAGGER_POLICY)

    app.add_route("/openapi.json", describe, include_in_schema=False)
    app.add_route("/docs", swagger, include_in_schema=False)
    app.add_route("/redoc", redoc, include_in_schema=False)
    app.add_route(PROBLEMS_PAGE, problems, include_in_schema=False)
    app.add_route("/docs/assets/{name}", _FILES.serve, include_in_schema=False)
