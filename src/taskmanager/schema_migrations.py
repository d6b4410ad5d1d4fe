"""Where the migrations lie, and how Alembic is told."""

from pathlib import Path

from alembic.config import Config

_PACKAGE = Path(__file__).parent


def migrations_directory() -> Path:
    """Return the folder of the migrations: inside the package when installed, beside `src` in a checkout."""
    installed = _PACKAGE / "migrations"
    return installed if installed.is_dir() else _PACKAGE.parents[1] / "migrations"


def alembic_config(database_url: str | None = None) -> Config:
    """Return Alembic's configuration, pointing at our migrations and, if given, at one database."""
    config = Config()
    config.set_main_option("script_location", str(migrations_directory()).replace("%", "%%"))
    config.attributes["database_url"] = database_url
    return config
