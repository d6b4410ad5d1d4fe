"""The settings of the database, with their units and reasons."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from taskmanager.environment import EnvironmentSettings
from taskmanager.libpq.address import read_address

_ASYNC_DRIVER = "postgresql+asyncpg"


class DatabaseSettings(EnvironmentSettings):
    """What it takes to reach the database; all that migrations need.

    Raises:
        pydantic.ValidationError: A value is malformed.
        EnvFileError: `.env` cannot be read.
    """

    database_url: str | None = Field(
        default=None,
        description="PostgreSQL 18 or newer, `postgresql://user:password@host:port/name`; required by `serve`.",
    )
    database_direct_url: str | None = Field(
        default=None,
        description="The same database without the pooler, for `migrate` and `dev`; needed behind a pooler only.",
    )
    database_pooler: Literal["none", "transaction"] | None = Field(
        default=None,
        description="`transaction` where DATABASE_URL leads to a pooler in transaction mode, such as PgBouncer; `none` "
        "for the server itself or session mode; unset, it is found out with the first connection.",
    )
    data_dir: Path = Field(
        default=Path(".taskmanager"),
        description="Where `dev` keeps its embedded database and its secret.",
    )
    database_pool_size: int = Field(
        default=3,
        ge=2,
        le=200,
        description="Connections per worker for writes that run alone, never exceeded; nine more do the rest.",
    )
    # A request may wait for a connection twice, for its caller and for its own statement, then for a dead connection to
    # be noticed and a new one to be refused, or for a lock. The defaults keep the sum below five seconds.
    database_pool_wait_seconds: float = Field(
        default=1.5,
        gt=0,
        le=5,
        description="Longest wait for a free connection before the answer is 503.",
    )
    database_connect_timeout_seconds: float = Field(
        default=6.0,
        gt=0,
        le=30,
        description="Longest time that opening a connection may take; a request waits for it one second at most, and "
        "the next one finds it open.",
    )
    database_wait_seconds: float = Field(
        default=30.0,
        ge=0,
        le=3_600,
        description="How long `serve` waits at its start for a database that is out of reach; 0 is one try.",
    )
    database_command_timeout_seconds: float = Field(
        default=2.5,
        gt=0,
        le=60,
        description="Longest wait for any answer of the server, so that a frozen one cannot hang a request.",
    )
    database_statement_timeout_ms: int = Field(
        default=2_000,
        ge=100,
        le=60_000,
        description="PostgreSQL cancels a longer statement; keep it below the command time-out.",
    )
    database_long_statement_timeout_ms: int = Field(
        default=60_000,
        ge=1_000,
        le=3_600_000,
        description="The same for deleting a project, a section, an account or all tasks, which may touch very many "
        "rows.",
    )
    database_lock_timeout_ms: int = Field(
        default=1_500, ge=100, le=60_000, description="PostgreSQL gives up waiting for a lock after this."
    )

    @field_validator("database_url", "database_direct_url")
    @classmethod
    def _name_async_driver(cls, value: str | None) -> str | None:
        if value is None:
            return None
        read_address(value).check_files()
        return f"{_ASYNC_DRIVER}://{value.partition('://')[2]}"
