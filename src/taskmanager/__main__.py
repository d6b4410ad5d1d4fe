"""Runs the command line, as `taskmanager` and as `python -m taskmanager`."""

import gc


def main() -> None:
    """Import the command line, then run it."""
    # Imported modules stay. Collecting garbage among them again and again takes a tenth of the start.
    gc.disable()
    from taskmanager.commands.cli import main as run  # noqa: PLC0415

    gc.freeze()
    gc.enable()
    run()


if __name__ == "__main__":
    main()
