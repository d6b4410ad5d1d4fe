"""A process that has imported everything once and forks for each line that it reads."""

import gc
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn


def start_forker(module: str, environment: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
    """Start a module of the tests that ends in `fork_for_each_line`; it writes an exit code for each line it reads."""
    return subprocess.Popen(
        [sys.executable, "-m", module],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],  # where the tests are found
    )


def call_forker(process: "subprocess.Popen[str]", call: Mapping[str, Any]) -> int:
    """Have a call made by a fork and return its exit code."""
    assert process.stdin is not None
    assert process.stdout is not None
    print(json.dumps(call), file=process.stdin, flush=True)
    return int(process.stdout.readline())


def fork_for_each_line(make_call: Callable[[Any], NoReturn]) -> None:
    """Make each call that is read in a process of its own."""
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            make_call(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def run_and_exit(main: Callable[[], None]) -> NoReturn:
    """Run a program as the interpreter does, to the end of this process."""
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001  # as the interpreter does
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else bool(code))
