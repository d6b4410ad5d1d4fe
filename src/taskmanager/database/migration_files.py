"""Where the migrations are; imports nothing, because it is asked before anything else is imported."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def migrations_directory() -> Path:
    """Return the folder of the migrations: inside the package when installed, beside `src` in a checkout."""
    installed = _PACKAGE / "migrations"
    return installed if installed.is_dir() else _PACKAGE.parents[1] / "migrations"
