"""How settings are read from the environment and from `.env`, which others write to as well."""

from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict


class EnvFileError(Exception):
    """The file `.env` cannot be read; the message is one line that names it."""


class EnvironmentSettings(BaseSettings):
    """Settings of which each comes from the variable of its name, then from `.env`.

    White space around a value does not belong to it; a value of nothing else counts as unset.

    Raises:
        pydantic.ValidationError: A value is malformed.
        EnvFileError: `.env` cannot be read.
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8-sig",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    def __init__(self, **values: Any) -> None:
        file = values.get("_env_file", self.model_config.get("env_file"))
        if file is not None:
            _check_env_file(Path(file))
        super().__init__(**values)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return pydantic's sources, without the white space around values."""
        for source in (env_settings, dotenv_settings):
            if isinstance(source, EnvSettingsSource):
                stripped = {name: (value or "").strip() for name, value in source.env_vars.items()}
                source.env_vars = {name: value for name, value in stripped.items() if value}
        return init_settings, env_settings, dotenv_settings, file_secret_settings


def _check_env_file(file: Path) -> None:
    try:
        content = file.read_bytes() if file.is_file() else b""
        # UTF-16 without a mark is valid UTF-8, too.
        if "\0" in content.decode("utf-8-sig"):
            raise EnvFileError(f"{file}: must be saved as UTF-8")
    except OSError as error:
        raise EnvFileError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise EnvFileError(f"{file}: must be saved as UTF-8") from None
