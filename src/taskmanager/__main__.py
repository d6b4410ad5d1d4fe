"""Runs the command line, as `taskmanager` and as `python -m taskmanager`."""

import gc
import os
import signal


def main() -> None:
    """Import the command line, then run it; Ctrl-C ends it by that signal, without a traceback."""
    interrupt = signal.getsignal(signal.SIGINT)
    if interrupt is signal.default_int_handler:  # not where a shell has it ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Imported modules stay. Collecting garbage among them again and again takes a tenth of the start.
    gc.disable()
    from taskmanager.commands.cli import main as run  # noqa: PLC0415

    gc.freeze()
    gc.enable()
    try:
        signal.signal(signal.SIGINT, interrupt)
        run()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main()
