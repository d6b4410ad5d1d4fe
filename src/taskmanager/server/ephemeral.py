"""The serving process of an ephemeral instance: tells others its address, and ends with those it depends on."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from socket import socket

import uvicorn

from taskmanager.server.serving import Server

_READ_BYTES = 65_536


class EphemeralServer(Server):
    """A server that writes its address to a file once it serves, and stops when one of the given files ends.

    The file with the address is complete as soon as it is there. `ends_with` are open pipes; what is read from them is
    thrown away, and `ended_with` is the one that has ended.
    """

    def __init__(
        self, config: uvicorn.Config, *, banner: str, url: str, url_file: Path | None, ends_with: Sequence[int]
    ) -> None:
        super().__init__(config, banner=banner)
        self._url = url
        self._url_file = url_file
        self._ends_with = ends_with
        self.ended_with: int | None = None

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        loop = asyncio.get_running_loop()
        for file in self._ends_with:
            loop.add_reader(file, self._read, file)
        if self._url_file is not None and self.started:
            new = unfinished(self._url_file)
            new.write_text(f"{self._url}\n")
            new.replace(self._url_file)

    def _read(self, file: int) -> None:
        if os.read(file, _READ_BYTES):
            return
        asyncio.get_running_loop().remove_reader(file)
        self.ended_with = file
        self.should_exit = True


def unfinished(url_file: Path) -> Path:
    """Return the name of the file while it is written."""
    return url_file.with_name(f"{url_file.name}.new")
