"""Runs the command line, as `taskmanager` and as `python -m taskmanager`."""

import gc
import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskmanager.embedded.temporary_postgres import TemporaryPostgres


def _begin_database(arguments: list[str]) -> "TemporaryPostgres | None":
    """Begin the database of `dev --ephemeral`, which starts while all the rest is imported."""
    if arguments[:1] != ["dev"] or "--ephemeral" not in arguments or "--help" in arguments:
        return None
    from taskmanager.embedded.temporary_postgres import TemporaryPostgres  # noqa: PLC0415

    return TemporaryPostgres()


def main() -> None:
    """Import the command line, then run it; Ctrl-C ends it by that signal, without a traceback."""
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is signal.default_int_handler:  # not where a shell has it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Imported modules stay. Collecting garbage among them again and again takes a tenth of the start.
    gc.disable()
    begun = _begin_database(sys.argv[1:])
    from taskmanager.commands.cli import main as run  # noqa: PLC0415

    gc.freeze()
    gc.enable()
    try:
        signal.signal(signal.SIGINT, interrupt)
        run(begun)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        if begun is not None:
            begun.stop()


if __name__ == "__main__":
    main()
