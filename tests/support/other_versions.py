"""Other versions of the service, from folders with their code."""

import asyncio
import os
import sys
from pathlib import Path

import httpx

from tests.conftest import SECRET
from tests.support.live_server import RATE_LIMITS
from tests.support.ports import free_port


async def migrate(folder: Path, url: str) -> tuple[int, str]:
    """Run `taskmanager migrate` of another version; return its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "taskmanager", "migrate"),
        env={**os.environ, "PYTHONPATH": str(folder / "src"), "DATABASE_URL": url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


class OtherVersion:
    """`taskmanager serve` of another version."""

    def __init__(self, folder: Path, url: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._environment = {**os.environ, **dict.fromkeys((name.upper() for name in RATE_LIMITS), "0")}
        self._environment |= {"PYTHONPATH": str(folder / "src"), "DATABASE_URL": url, "SECRET_KEY": SECRET}
        self._environment |= {"PORT": str(port), "DRAIN_SECONDS": "0"}

    async def start(self) -> None:
        """Start, and wait until it is ready."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "taskmanager", "serve"),
            env=self._environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(30), httpx.AsyncClient() as client:
            while not await self._is_ready(client):
                assert self._process.returncode is None
                await asyncio.sleep(0.05)

    async def _is_ready(self, client: httpx.AsyncClient) -> bool:
        try:
            return (await client.get(f"{self.url}/readyz")).is_success
        except httpx.TransportError:
            return False

    async def stop(self) -> None:
        """Stop it."""
        self._process.terminate()
        await self._process.wait()
