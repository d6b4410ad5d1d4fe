"""Below which path a client finds the service, where a proxy strips a prefix from the paths that it passes on."""

from collections.abc import Mapping
from typing import Any

from taskmanager.http.client_addresses import ClientAddresses
from taskmanager.settings import read_path_prefix


class PathPrefixes:
    """Finds the prefix of a request; `root_path` is that of requests which say nothing of it."""

    def __init__(self, root_path: str, addresses: ClientAddresses) -> None:
        self._root_path = root_path
        self._addresses = addresses

    def find(self, scope: Mapping[str, Any]) -> str:
        """Return the prefix, such as `/tasks`, or nothing.

        `X-Forwarded-Prefix` counts if a trusted proxy has sent it, once and well formed.
        """
        given = [value for name, value in scope["headers"] if name == b"x-forwarded-prefix"]
        if len(given) == 1 and self._addresses.comes_from_proxy(scope):
            prefix = read_path_prefix(given[0].decode("latin-1").strip(" \t"))
            if prefix is not None:
                return prefix
        return self._root_path
