"""`taskmanager doctor`: what it finds, that it says so by its exit code, and that it tells no secret."""

import asyncio
import subprocess
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import make_url

from taskmanager.commands.doctor import database as doctor
from taskmanager.commands.doctor.configuration import examine_settings
from taskmanager.commands.doctor.database import examine_database
from taskmanager.commands.doctor.findings import Finding, Level
from taskmanager.database.database import Database
from taskmanager.database.schema_migrations import alembic_config
from tests.conftest import SECRET, make_settings
from tests.support.command_line import run
from tests.support.databases import refusing_url, silent_url, temporary_database
from tests.support.server import execute_on

OTHER_SECRET = "another secret for tests, just as long as it has to be"
SECRETS = {
    "SECRET_KEY": SECRET,
    "SECRET_KEY_PREVIOUS": OTHER_SECRET,
    "API_KEY": "0123456789-a-key-for-administration",
    "METRICS_TOKEN": "9876543210-a-token-for-prometheus-x",
}


def examine(environment: dict[str, str], folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return run("doctor", *options, environment=environment, cwd=folder)


def find(findings: list[Finding], word: str) -> Finding:
    """Return the one finding whose message has these words."""
    (finding,) = [finding for finding in findings if word in finding.message]
    return finding


def test_a_good_set_up_has_nothing_worse_than_ok(database_url: str, tmp_path: Path) -> None:
    result = examine({**SECRETS, "DATABASE_URL": database_url}, tmp_path, "--workers", "2")
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    # The server of the tests need be neither durable nor encrypted.
    expected = ("is off: what", "is not encrypted")
    others = [line for line in lines if not any(words in line for words in expected)]
    assert {line.split()[0] for line in others} == {"ok"}, result.stdout
    for word in ("Python 3", "fastapi ", "PostgreSQL 18", "schema at revision", "connections: 2 workers open up to 24"):
        assert word in result.stdout
    for word in ("clocks: ", "ALLOWED_ORIGINS: http://localhost:3000, with", "listening address 127.0.0.1:8000"):
        assert word in result.stdout
    for name, secret in SECRETS.items():
        assert f"{name}: {len(secret)} bytes" in result.stdout
        assert secret not in result.stdout
    assert (make_url(database_url).password or "nothing") not in result.stdout


def test_without_settings_it_says_what_is_missing(tmp_path: Path) -> None:
    result = examine({}, tmp_path)
    assert result.returncode == 1
    problems = [line for line in result.stdout.splitlines() if line.startswith("problem")]
    assert problems == ["problem  SECRET_KEY: Field required", "problem  DATABASE_URL is not set"]


def test_a_refused_setting_does_not_hide_the_database(database_url: str, tmp_path: Path) -> None:
    result = examine({"SECRET_KEY": "too short", "DATABASE_URL": database_url}, tmp_path)
    assert result.returncode == 1
    assert "problem  SECRET_KEY: must have at least 32 bytes" in result.stdout
    assert "ok       PostgreSQL 18" in result.stdout
    assert "too short" not in result.stdout


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:hunter@2@db.example.com/x",
        "postgresql://user:hunter@2:word@db.example.com/x",
        "postgresql://user:hunter@db.example.com:2/w@ord",
        "postgresql://user:hunter@db.example.com:hunter/x",
    ],
)
def test_a_password_that_broke_the_url_is_not_told(url: str, tmp_path: Path) -> None:
    result = examine({"SECRET_KEY": SECRET, "DATABASE_URL": url}, tmp_path)
    assert result.returncode == 1
    assert "problem  DATABASE_URL: " in result.stdout
    assert "written as %40" in result.stdout
    assert "hunter" not in result.stdout + result.stderr
    assert "word" not in result.stdout.replace("password", "") + result.stderr


@pytest.mark.parametrize(
    ("settings", "level", "word"),
    [
        ({"secret_key": "ab" * 16}, Level.WARNING, "SECRET_KEY: 32 bytes, but of few different characters"),
        (
            {"secret_key_previous": SECRET},
            Level.PROBLEM,
            f"SECRET_KEY_PREVIOUS: {len(SECRET)} bytes, the same as SECRET_KEY",
        ),
        ({"secret_key_previous": OTHER_SECRET}, Level.OK, "remove it 30 days after"),
        ({"api_key": SECRET}, Level.PROBLEM, f"API_KEY: {len(SECRET)} bytes, the same as SECRET_KEY"),
        ({"metrics_token": SECRET}, Level.PROBLEM, f"METRICS_TOKEN: {len(SECRET)} bytes, the same as SECRET_KEY"),
        ({}, Level.OK, "METRICS_TOKEN is not set"),
        ({"allowed_origins": "*", "cors_allow_credentials": False}, Level.WARNING, "any site may call"),
        ({"allowed_origins": "https://A.example/"}, Level.OK, "ALLOWED_ORIGINS: https://a.example, with"),
        ({"allowed_origins": "http://a.example"}, Level.WARNING, "is not encrypted"),
        ({"allowed_origins": "https://a.example,https://b.example:8443"}, Level.OK, "https://b.example:8443, with"),
        ({"allowed_origins": "[]"}, Level.OK, "ALLOWED_ORIGINS: none"),
        ({"host": "0.0.0.0"}, Level.WARNING, "listening address 0.0.0.0:8000"),
        ({"host": ""}, Level.WARNING, "listening address *:8000"),
        ({"host": "localhost", "port": 81}, Level.OK, "listening address localhost:81"),
        ({"host": "::1"}, Level.OK, "listening address ::1:8000"),
        ({"debug": True}, Level.WARNING, "DEBUG is on"),
        ({"database_statement_timeout_ms": 3_000}, Level.WARNING, "DATABASE_STATEMENT_TIMEOUT_MS is not below"),
    ],
)
def test_what_settings_alone_can_tell(settings: dict[str, object], level: Level, word: str) -> None:
    findings = list(examine_settings(make_settings(**settings)))
    assert find(findings, word).level is level
    assert not [finding for finding in findings if SECRET in finding.message or OTHER_SECRET in finding.message]


class TestDatabase:
    """What the server can tell."""

    @pytest.mark.server_itself("the connections that it takes")
    async def test_too_many_workers_for_its_connections(self, database_url: str, database: Database) -> None:
        settings = make_settings(database_url=database_url, database_pool_size=100)
        finding = find(await examine_database(settings, 20), "connections: ")
        assert finding.level is Level.PROBLEM
        assert "20 workers open up to 2180" in finding.message

    @pytest.mark.server_itself("the connections that it takes")
    async def test_fewer_connections_for_this_role(self, database_url: str, database: Database) -> None:
        name = make_url(database_url).database
        await asyncio.to_thread(execute_on, database_url, f"ALTER DATABASE {name} CONNECTION LIMIT 30")
        try:
            settings = make_settings(database_url=database_url, database_pool_size=29)
            assert find(await examine_database(settings, 1), "there is room for 30").level is Level.PROBLEM
        finally:
            await asyncio.to_thread(execute_on, database_url, f"ALTER DATABASE {name} CONNECTION LIMIT -1")

    @pytest.mark.server_itself("the connections that it takes")
    async def test_connections_of_others_are_considered(self, database_url: str, database: Database) -> None:
        findings = await examine_database(make_settings(database_url=database_url), 1)
        room = int(find(findings, "connections: ").message.partition("room for ")[2].partition(",")[0])
        settings = make_settings(database_url=database_url, database_pool_size=min(room - 9, 200))
        async with temporary_database(database_url):  # holds a connection of its own
            finding = find(await examine_database(settings, 1), "connections: ")
        assert finding.level is (Level.WARNING if room <= 209 else Level.OK)

    async def test_a_schema_that_is_not_there(self, database_url: str) -> None:
        async with temporary_database(database_url) as url:
            finding = find(await examine_database(make_settings(database_url=url), 1), "schema is at revision none")
        assert finding.level is Level.PROBLEM

    async def test_a_schema_of_a_newer_version(self, database_url: str) -> None:
        async with temporary_database(database_url) as url:
            await asyncio.to_thread(command.upgrade, alembic_config(url), "head")
            await asyncio.to_thread(execute_on, url, "UPDATE alembic_version SET version_num = 'next'")
            finding = find(await examine_database(make_settings(database_url=url), 1), "revision next")
        assert finding.level is Level.WARNING

    async def test_a_server_that_may_lose_what_it_stored(self, database_url: str, database: Database) -> None:
        name = make_url(database_url).database
        await asyncio.to_thread(execute_on, database_url, f"ALTER DATABASE {name} SET synchronous_commit = off")
        try:
            findings = await examine_database(make_settings(database_url=database_url), 1)
            assert find(findings, "synchronous_commit is off").level is Level.WARNING
        finally:
            await asyncio.to_thread(execute_on, database_url, f"ALTER DATABASE {name} RESET synchronous_commit")

    @pytest.mark.parametrize(
        ("limit", "level"), [("_CLOCK_WARNING_SECONDS", Level.WARNING), ("_CLOCK_PROBLEM_SECONDS", Level.PROBLEM)]
    )
    async def test_a_clock_that_is_wrong(
        self, database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch, limit: str, level: Level
    ) -> None:
        monkeypatch.setattr(doctor, limit, -1.0)
        assert find(await examine_database(make_settings(database_url=database_url), 1), "clocks: ").level is level

    async def test_a_server_that_is_far_away(
        self, database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(doctor, "_SLOW_PING_MS", 0.0)
        assert (
            find(await examine_database(make_settings(database_url=database_url), 1), "PostgreSQL").level
            is Level.WARNING
        )

    async def test_a_server_that_is_too_old(
        self, database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("taskmanager.commands.doctor.database.MINIMUM_SERVER_VERSION", 99)
        monkeypatch.setattr("taskmanager.database.checks.MINIMUM_SERVER_VERSION", 99)
        findings = await examine_database(make_settings(database_url=database_url), 1)
        assert find(findings, "too old").level is Level.PROBLEM

    async def test_a_server_that_refuses(self, database_url: str) -> None:
        (finding,) = await examine_database(make_settings(database_url=refusing_url(database_url)), 1)
        assert finding.level is Level.PROBLEM
        assert "cannot be reached" in finding.message

    async def test_a_server_that_is_silent(self, database_url: str) -> None:
        async with silent_url(database_url) as url:
            settings = make_settings(database_url=url, database_connect_timeout_seconds=0.2)
            (finding,) = await examine_database(settings, 1)
        assert finding.level is Level.PROBLEM
        assert "cannot be reached" in finding.message
