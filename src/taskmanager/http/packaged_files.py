"""Files that are part of the package and are sent as they are: scripts, styles and pictures of pages."""

from collections.abc import Mapping
from hashlib import sha256
from importlib.resources import files
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from taskmanager.http.preconditions import matches_known


class PackagedFile(NamedTuple):
    """A file as it is sent, and its entity tag."""

    content: bytes
    etag: str


class PackagedFiles:
    """The files in the folder `assets` of a package; `media_types` names each that is served, with its type.

    The host's own table of types differs between machines. Each file is read once per process.
    """

    def __init__(self, package: str, media_types: Mapping[str, str]) -> None:
        self._folder = files(package).joinpath("assets")
        self._media_types = media_types
        self._read: dict[str, PackagedFile] = {}

    def load(self, name: str) -> PackagedFile:
        """Return a file that is served."""
        if name not in self._read:
            content = self._folder.joinpath(name).read_bytes()
            self._read[name] = PackagedFile(content, f'"{sha256(content).hexdigest()[:32]}"')
        return self._read[name]

    def version(self, name: str) -> str:
        """Return what an address names beside the file, so that an upgrade never mixes old files and new."""
        return f"{name}?v={self.load(name).etag[1:9]}"

    def serve(self, request: Request) -> Response:
        """Answer with the file that the path parameter `name` names, or 304; other names are not found."""
        name = request.path_params["name"]
        if name not in self._media_types:
            raise HTTPException(404)
        content, etag = self.load(name)
        headers = {"ETag": etag, "Cache-Control": "public, max-age=86400"}
        if matches_known(request.headers.get("If-None-Match", ""), etag.strip('"')):
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=self._media_types[name])


def html_page(html: str, policy: str) -> HTMLResponse:
    """Return a page under a Content-Security-Policy, asked for anew each time because it names its files' versions."""
    return HTMLResponse(html, headers={"Content-Security-Policy": policy, "Cache-Control": "no-cache"})
