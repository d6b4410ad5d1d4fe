"""The command line, run again and again: each time in a process of its own, but what it imports is imported once.

As a script this is the process that imports and then forks; each line that it reads is a call.
"""

import atexit
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from tests.support.forking import call_forker, fork_for_each_line, run_and_exit, start_forker

_TIMEOUT_SECONDS = 60


@cache
def _forker() -> "subprocess.Popen[str]":
    # In the environment of most calls, for libraries that look at it when they are imported.
    environment = {"PATH": os.environ["PATH"], "NO_COLOR": "1", "TERM": "dumb"}
    process = start_forker("tests.support.command_line", environment)

    def stop() -> None:
        process.communicate()

    atexit.register(stop)
    return process


def run(
    *arguments: str, environment: Mapping[str, str], cwd: Path, stdin: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run `taskmanager` with these arguments to its end, with hardly more than this environment."""
    clean = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    with tempfile.TemporaryDirectory(prefix="taskmanager-call-") as name:
        paths = [Path(name) / stream for stream in ("stdin", "stdout", "stderr")]
        paths[0].write_text(stdin)
        call = {
            "arguments": arguments,
            "environment": {**clean, **environment},
            "cwd": str(cwd),
            "streams": [str(path) for path in paths],
        }
        code = call_forker(_forker(), call)
        return subprocess.CompletedProcess(arguments, code, paths[1].read_text(), paths[2].read_text())


def _become(call: dict[str, Any]) -> NoReturn:
    signal.alarm(_TIMEOUT_SECONDS)
    for number, path in enumerate(call["streams"]):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = (open(number, mode) for number, mode in enumerate("rww"))  # noqa: PTH123, SIM115
    os.chdir(call["cwd"])
    os.environ.clear()
    os.environ.update(call["environment"])
    sys.argv = ["taskmanager", *call["arguments"]]
    run_and_exit(main)


if __name__ == "__main__":
    import taskmanager.main  # noqa: F401  # what `openapi` and `serve` import later
    from taskmanager.commands.cli import main

    fork_for_each_line(_become)
