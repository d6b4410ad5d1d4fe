"""Records what a result was measured on: machine, versions, revision."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.database import Postgres, fetch
from benchmarks.servers import PEERS, REPOSITORY

_PACKAGES = (
    "fastapi", "starlette", "uvicorn", "uvloop", "httptools", "pydantic", "sqlalchemy", "asyncpg", "psycopg", "pyjwt",
)  # fmt: skip
_NODE_PACKAGES = ("fastify", "express", "pg", "fast-jwt")


def describe(postgres: Postgres) -> dict[str, Any]:
    """Return everything that a reader needs to judge the figures."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_without_folders(sys.orig_argv[1:]),
        "revision": revision(REPOSITORY),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "node": _output("node", "--version"),
        "wrk": _output("wrk", "--version").split(" [")[0],
        "postgres": fetch(postgres.url, "SHOW server_version")[0][0],
        "packages": {name: found for name in _PACKAGES if (found := _package_version(name))},
        "node_packages": _node_packages(),
    }


def revision(folder: Path) -> str:
    """Return the git revision of a folder, marked when files differ from it."""
    return _output("git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12") or "unknown"


def command_without_folders(arguments: Sequence[str]) -> str:
    """Return a command line as others can run it: without the folder for its results, and with checkouts by name."""
    kept = list(arguments)
    if "--output" in kept:
        place = kept.index("--output")
        del kept[place : place + 2]
    return " ".join(re.sub(r"^([\w-]+):.*/", r"\1:", one) for one in kept)


def _output(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    # wrk answers --version with code 1.
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return (result.stdout + result.stderr).splitlines()[0].strip() if result.stdout or result.stderr else ""


def _processor() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.processor()


def _package_version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _node_packages() -> dict[str, str]:
    found = {}
    for name in _NODE_PACKAGES:
        for manifest in PEERS.glob(f"*/node_modules/{name}/package.json"):
            found[name] = json.loads(manifest.read_text())["version"]
    return found
