"""Settings: read from the environment and `.env`, strict where it matters, tolerant of what others put there."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import make_url

from taskmanager.database.database import Database
from taskmanager.settings import Settings
from tests.conftest import make_settings

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing but a secret in the environment, and an empty working folder."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("SECRET_KEY", SECRET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal_of(**values: Any) -> str:
    """Return what is said about settings that are refused."""
    with pytest.raises(ValidationError) as refused:
        Settings(**values)
    return str(refused.value)


class TestSecrets:
    """Long enough, and never shown."""

    def test_a_missing_secret_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("SECRET_KEY")
        assert "secret_key" in refusal_of()

    @pytest.mark.parametrize("secret", ["", "x", "x" * 31, "ü" * 15])
    def test_a_short_secret_is_refused_and_not_repeated(self, monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
        monkeypatch.setenv("SECRET_KEY", secret)
        message = refusal_of()
        assert "secret_key" in message
        if len(secret) > 1:
            assert secret not in message
            assert "at least 32 bytes" in message

    @pytest.mark.parametrize("secret", ["x" * 32, "ü" * 16, "x" * 1_000])
    def test_the_length_is_counted_in_bytes(self, monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
        monkeypatch.setenv("SECRET_KEY", secret)
        assert Settings().secret_key.get_secret_value() == secret

    def test_the_admin_key_is_off_by_default_and_has_to_be_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert Settings().api_key is None
        monkeypatch.setenv("API_KEY", "short")
        message = refusal_of()
        assert "api_key" in message
        assert "short" not in message.replace("too_short", "")

    def test_no_secret_is_ever_printed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("API_KEY", SECRET.upper())
        settings = Settings()
        for shown in (repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()):
            assert SECRET not in shown
            assert SECRET.upper() not in shown


class TestDatabaseUrl:
    """Any way to write a PostgreSQL URL means asyncpg."""

    @pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
    def test_names_the_driver(self, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
        monkeypatch.setenv("DATABASE_URL", f"{scheme}://user:p%40ss:w@host:5433/name")
        url = make_url(Settings().database_url or "")
        assert url.drivername == "postgresql+asyncpg"
        assert (url.username, url.password, url.host, url.port, url.database) == (
            "user",
            "p@ss:w",
            "host",
            5433,
            "name",
        )

    @pytest.mark.parametrize(
        "url", ["sqlite:///tasks.db", "mysql://host/name", "postgresql+psycopg://host/name", "host/name", "postgresql:"]
    )
    def test_anything_else_is_refused_without_repeating_it(self, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
        monkeypatch.setenv("DATABASE_URL", url)
        message = refusal_of()
        assert "postgresql://user:password@host:port/name" in message
        assert f"'{url}'" not in message

    def test_is_optional(self) -> None:
        assert Settings().database_url is None


class TestOrigins:
    """A comma list or JSON; any origin only without credentials."""

    @pytest.mark.parametrize(
        ("value", "origins"),
        [
            ("https://a.example", ("https://a.example",)),
            ("https://a.example,https://b.example", ("https://a.example", "https://b.example")),
            (" https://a.example , https://b.example ,", ("https://a.example", "https://b.example")),
            ('["https://a.example", "https://b.example"]', ("https://a.example", "https://b.example")),
            (' ["https://a.example"]', ("https://a.example",)),
            ("[]", ()),
            (",", ()),
            ("", ("http://localhost:3000",)),
        ],
    )
    def test_lists(self, monkeypatch: pytest.MonkeyPatch, value: str, origins: tuple[str, ...]) -> None:
        monkeypatch.setenv("ALLOWED_ORIGINS", value)
        assert Settings().allowed_origins == origins

    @pytest.mark.parametrize("value", ["[", '["https://a.example"', "[1]", '[["https://a.example"]]', '[{"a": 1}]'])
    def test_broken_json_is_refused(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv("ALLOWED_ORIGINS", value)
        assert "allowed_origins" in refusal_of()

    @pytest.mark.parametrize("value", ["*", '["*"]', "https://a.example,*"])
    def test_any_origin_with_credentials_is_refused(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv("ALLOWED_ORIGINS", value)
        assert "CORS_ALLOW_CREDENTIALS=false" in refusal_of()

    def test_any_origin_without_credentials_is_fine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ALLOWED_ORIGINS", "*")
        monkeypatch.setenv("CORS_ALLOW_CREDENTIALS", "false")
        assert Settings().allowed_origins == ("*",)


class TestDebug:
    """DEBUG is a word of many tools."""

    @pytest.mark.parametrize("value", ["release", "*", "false", "0", "no", "off", "express:*", ""])
    def test_foreign_words_mean_no(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv("DEBUG", value)
        assert Settings().debug is False

    @pytest.mark.parametrize("value", ["true", "True", "1", "yes", "on", " TRUE "])
    def test_yes_means_yes(self, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
        monkeypatch.setenv("DEBUG", value)
        assert Settings().debug is True


class TestSources:
    """The environment over `.env`, and neither has to be ours alone."""

    def test_env_file_is_read_and_foreign_lines_are_ignored(
        self, monkeypatch: pytest.MonkeyPatch, environment: Path
    ) -> None:
        monkeypatch.delenv("SECRET_KEY")
        lines = ["# ours", f"SECRET_KEY={SECRET}", "PORT=9000", "POSTGRES_PASSWORD=x", "export OTHER='ü'", "secret=1"]
        (environment / ".env").write_text("\n".join(lines), encoding="utf-8")
        settings = Settings()
        assert (settings.secret_key.get_secret_value(), settings.port) == (SECRET, 9000)

    def test_the_environment_wins(self, monkeypatch: pytest.MonkeyPatch, environment: Path) -> None:
        (environment / ".env").write_text("PORT=9000\nHOST=0.0.0.0\n", encoding="utf-8")
        monkeypatch.setenv("PORT", "9001")
        settings = Settings()
        assert (settings.port, settings.host) == (9001, "0.0.0.0")

    @pytest.mark.parametrize(
        ("name", "field", "default"),
        [
            ("DATABASE_URL", "database_url", None),
            ("PORT", "port", 8000),
            ("HOST", "host", "127.0.0.1"),
            ("DATA_DIR", "data_dir", Path(".taskmanager")),
            ("API_KEY", "api_key", None),
            ("ACCESS_TOKEN_MINUTES", "access_token_minutes", 30),
            ("MAX_BODY_BYTES", "max_body_bytes", 1_048_576),
        ],
    )
    def test_empty_means_unset(
        self, monkeypatch: pytest.MonkeyPatch, environment: Path, name: str, field: str, default: Any
    ) -> None:
        assert getattr(Settings(), field) == default
        monkeypatch.setenv(name, "")
        assert getattr(Settings(), field) == default
        monkeypatch.delenv(name)
        (environment / ".env").write_text(f"{name}=\n", encoding="utf-8")
        assert getattr(Settings(), field) == default


class TestNumbers:
    """Numbers are bounded, and say what they count."""

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("PORT", "0"),
            ("PORT", "65536"),
            ("PORT", "http"),
            ("DATABASE_POOL_SIZE", "1"),
            ("DATABASE_POOL_WAIT_SECONDS", "0"),
            ("DATABASE_POOL_WAIT_SECONDS", "6"),
            ("DATABASE_POOL_WAIT_SECONDS", "nan"),
            ("DATABASE_COMMAND_TIMEOUT_SECONDS", "inf"),
            ("PASSWORD_MIN_CHARACTERS", "7"),
            ("PASSWORD_HASH_THREADS", "5"),
            ("ACCESS_TOKEN_MINUTES", "0"),
            ("MAX_BODY_BYTES", "1 MB"),
            ("REFRESH_TOKEN_DAYS", "-1"),
        ],
    )
    def test_out_of_bounds_is_refused(self, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
        monkeypatch.setenv(name, value)
        assert name.lower() in refusal_of()

    def test_each_setting_is_described_and_each_number_has_a_unit(self) -> None:
        units = ("_seconds", "_ms", "_minutes", "_days", "_hours", "_bytes", "_characters", "_per_minute", "_rows")
        counts = {
            "port",
            "database_pool_size",
            "password_hash_threads",
            "password_hash_queue",
            "max_requests_in_flight",
            "max_streams",
            "max_streams_per_user",
        }
        for name, setting in Settings.model_fields.items():
            assert setting.description, name
            if setting.annotation in {int, float}:
                assert name.endswith(units) or name in counts, name

    def test_nothing_changes_once_read(self) -> None:
        settings = Settings()
        with pytest.raises(ValidationError):
            settings.port = 1  # type: ignore[misc]


@pytest.mark.parametrize("query", ["sslmode=disable", "prepared_statement_cache_size=50&sslmode=disable"])
async def test_libpq_s_sslmode_is_understood(database_url: str, query: str) -> None:
    url = make_url(database_url).update_query_string(query, append=True).render_as_string(hide_password=False)
    database = Database(make_settings(database_url=url))
    try:
        await database.check_schema()
    finally:
        await database.dispose()
