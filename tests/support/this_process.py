"""How a process that runs tests is set up, before the first of them."""

import os
import sys
from typing import Any, NoReturn

import structlog


def drop_log_lines() -> None:
    """Keep the log silent: unconfigured, structlog would print every traceback with its local variables."""

    def drop(*_: Any) -> NoReturn:
        raise structlog.DropEvent

    structlog.configure(processors=[drop])


def keep_bytecode() -> None:
    """Let the many processes that tests start find their modules compiled, where the environment forbids it too."""
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
