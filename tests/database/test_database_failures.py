"""Errors of the database are called by their names: only what cannot be reached is said to be."""

import errno
import ssl
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from taskmanager.database.database import Database
from taskmanager.database.failures import describe_failure, failure_reason
from tests.conftest import make_settings
from tests.support.database_reports import outcome, problems_of, readiness_of
from tests.support.databases import refusing_url, silent_url, temporary_role
from tests.support.sessions import open_session, open_transaction


class TestFailures:
    """In the words of the server."""

    @pytest.mark.parametrize(
        ("change", "line"),
        [
            ({"password": "wrong"}, 'the database refuses the login: password authentication failed for user "'),
            ({"username": "nobody_at_all"}, "the database refuses the login: "),
            ({"database": "nowhere"}, 'the database does not exist: database "nowhere" does not exist'),
            ({"host": "nowhere.invalid", "query": {}}, "the database cannot be reached: [Errno -"),
            ({"query": {"host": "/nowhere"}}, "the database cannot be reached: [Errno 2]"),
        ],
    )
    async def test_what_keeps_a_connection_from_being_opened(
        self, database_url: str, tmp_path: Path, change: dict[str, object], line: str
    ) -> None:
        async with temporary_role(database_url) as known:
            url = make_url(known).set(**change).render_as_string(hide_password=False)  # type: ignore[arg-type]
            (problem,) = await problems_of(url)
            assert problem.startswith(line)
            code, printed = await outcome(url, tmp_path, "migrate")
            assert (code, printed.startswith(f"taskmanager: {line}"), printed.count("\n")) == (2, True, 1)
            assert await readiness_of(url) == (503, line.partition(":")[0])

    async def test_nobody_and_a_silent_server(self, database_url: str) -> None:
        refused = await error_at(refusing_url(database_url))
        assert describe_failure(refused).startswith("the database cannot be reached: [Errno 111]")
        async with silent_url(database_url) as url:
            silent = await error_at(url, database_connect_timeout_seconds=0.2)
        assert describe_failure(silent) == "the database cannot be reached: no answer in time"

    async def test_a_server_without_tls_is_not_called_out_of_reach(self, database_url: str, tmp_path: Path) -> None:
        async with temporary_role(database_url) as url:
            demanding = make_url(url).update_query_dict({"sslmode": "require"})
            code, printed = await outcome(demanding.render_as_string(hide_password=False), tmp_path, "migrate")
        if make_url(url).host is None:
            pytest.skip("TLS is never used on a socket of Unix")
        assert (code, printed.count("\n")) == (2, 1)
        assert printed.startswith("taskmanager: the connection to the database failed: ")
        assert "rejected SSL upgrade" in printed

    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (ssl.SSLCertVerificationError(1, "certificate verify failed"), "the encrypted connection to the database"),
            (OSError(errno.EMFILE, "Too many open files"), "the connection to the database failed"),
            (PermissionError(errno.EACCES, "Permission denied"), "the connection to the database failed"),
            (
                OSError("Multiple exceptions: [Errno 111] refused, [Errno 111] refused"),
                "the database cannot be reached",
            ),
            (OSError(errno.EHOSTUNREACH, "No route to host"), "the database cannot be reached"),
        ],
    )
    def test_only_the_network_is_called_out_of_reach(self, error: OSError, reason: str) -> None:
        assert failure_reason(error).startswith(reason)
        assert str(error) in describe_failure(error)

    async def test_too_many_connections(self, database_url: str, tmp_path: Path) -> None:
        async with temporary_role(database_url, "ALTER ROLE {role} CONNECTION LIMIT 0") as url:
            code, line = await outcome(url, tmp_path, "serve")
        start = 'taskmanager: the database has no connection left: too many connections for role "'
        assert (code, line[: len(start)]) == (2, start)

    @pytest.mark.parametrize(
        ("sqlstate", "reason"),
        [
            ("42501", "the database role lacks a right"),
            ("53100", "the disk of the database is full"),
            ("53300", "the database has no connection left"),
            ("57P03", "the database takes no connections now"),
            ("25006", "the database is read-only"),
            ("57014", "the database took too long"),
            ("42P01", "the database refuses"),
            ("P0001", "the database refuses"),
        ],
    )
    async def test_what_the_server_says_is_passed_on(self, database: Database, sqlstate: str, reason: str) -> None:
        statement = text(f"DO $$ BEGIN RAISE EXCEPTION 'said so' USING ERRCODE = '{sqlstate}', HINT = 'more'; END $$")
        with pytest.raises(DBAPIError) as caught:
            async with open_transaction(database) as session:
                await session.execute(statement)
        assert failure_reason(caught.value) == reason
        assert describe_failure(caught.value) == f"{reason}: said so"


async def error_at(url: str, **settings: float) -> BaseException:
    """Return what a statement at this address raises."""
    database = Database(make_settings(database_url=url, **settings))
    try:
        with pytest.raises((DBAPIError, OSError)) as caught:
            async with open_session(database) as session:
                await session.execute(text("SELECT 1"))
        return caught.value
    finally:
        await database.dispose()
