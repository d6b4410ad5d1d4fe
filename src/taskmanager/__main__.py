"""Runs the command line as `python -m taskmanager`."""

from taskmanager.cli import main

if __name__ == "__main__":
    main()
