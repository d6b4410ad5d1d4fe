"""Where settings come from: `.env` in any encoding, white space around values, names of other tools."""

from pathlib import Path

import pytest

from taskmanager.environment import EnvFileError
from taskmanager.settings import Settings
from tests.support.command_line import run

SECRET = "0123456789abcdef0123456789abcdef"
NOT_UTF8 = "must be saved as UTF-8"


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No setting in the environment, and an empty working folder."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestEncodings:
    """UTF-8 with or without a mark is read; anything else is refused with the name of the file."""

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
    @pytest.mark.parametrize("end", ["\n", "\r\n"])
    def test_what_is_read(self, folder: Path, encoding: str, end: str) -> None:
        (folder / ".env").write_bytes(f"SECRET_KEY={SECRET}{end}PORT=9000{end}# ü{end}".encode(encoding))
        settings = Settings()
        assert (settings.secret_key.get_secret_value(), settings.port) == (SECRET, 9000)

    @pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
    def test_what_is_refused(self, folder: Path, encoding: str) -> None:
        (folder / ".env").write_bytes(f"SECRET_KEY={SECRET}\n# ü\n".encode(encoding))
        with pytest.raises(EnvFileError) as refused:
            Settings()
        assert str(refused.value) == f".env: {NOT_UTF8}"

    def test_a_folder_of_that_name_is_no_file(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / ".env").mkdir()
        monkeypatch.setenv("SECRET_KEY", SECRET)
        assert Settings().port == 8000

    @pytest.mark.parametrize(
        "command", ["serve", "migrate", "doctor", "dev", "user create u u@e.com", "key create u --name k --scope admin"]
    )
    def test_each_command_names_the_file_in_one_line(self, folder: Path, command: str) -> None:
        (folder / ".env").write_bytes("# für".encode("cp1252"))
        result = run(*command.split(), environment={}, cwd=folder)
        if command == "doctor":
            assert (result.returncode, result.stderr) == (1, "")
            assert f"problem  .env: {NOT_UTF8}\n" in result.stdout
        else:
            assert (result.returncode, result.stderr) == (2, f"taskmanager: .env: {NOT_UTF8}\n")


class TestWhiteSpace:
    """It does not belong to a value, least of all the final newline that a shell or a secret store leaves."""

    @pytest.mark.parametrize("name", ["secret_key", "secret_key_previous", "api_key", "metrics_token"])
    @pytest.mark.parametrize("space", ["\n", "\r\n", " ", "\t", "\u00a0"])
    def test_around_secrets(self, monkeypatch: pytest.MonkeyPatch, name: str, space: str) -> None:
        monkeypatch.setenv("SECRET_KEY", "x" * 32)
        monkeypatch.setenv(name.upper(), f"{space}{SECRET}{space}")
        assert getattr(Settings(), name).get_secret_value() == SECRET

    def test_does_not_make_a_secret_long_enough(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECRET_KEY", "x" * 31 + "\n")
        with pytest.raises(ValueError, match="at least 32 bytes"):
            Settings()

    def test_around_everything_else(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in {
            "SECRET_KEY": SECRET,
            "DATABASE_URL": "postgresql://u:p@h/d",
            "HOST": "localhost",
            "PORT": "9000",
            "DRAIN_SECONDS": "1.5",
            "CORS_ALLOW_CREDENTIALS": "false",
            "DEBUG": "true",
            "DATA_DIR": "data",
            "TRUSTED_PROXIES": "10.0.0.1 , unix",
            "ALLOWED_ORIGINS": '[ "https://a.example " ]',
        }.items():
            monkeypatch.setenv(name, f" {value}\r\n")
        settings = Settings()
        assert settings.database_url == "postgresql+asyncpg://u:p@h/d"
        assert (settings.host, settings.port, settings.drain_seconds) == ("localhost", 9000, 1.5)
        assert (settings.cors_allow_credentials, settings.debug) == (False, True)
        assert settings.data_dir == Path("data")
        assert settings.trusted_proxies == ("10.0.0.1/32", "unix")
        assert settings.allowed_origins == ("https://a.example",)

    @pytest.mark.parametrize("name", sorted(Settings.model_fields.keys() - {"secret_key"}))
    def test_alone_counts_as_unset(self, monkeypatch: pytest.MonkeyPatch, folder: Path, name: str) -> None:
        monkeypatch.setenv("SECRET_KEY", SECRET)
        default = getattr(Settings(), name)
        monkeypatch.setenv(name.upper(), " \n")
        assert getattr(Settings(), name) == default
        (folder / ".env").write_text("PORT=9000\n")
        monkeypatch.setenv("PORT", " \n")
        assert Settings().port == 9000
