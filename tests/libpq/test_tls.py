"""TLS to the database: each sslmode protects as libpq's does, and files that are no good are named."""

from pathlib import Path

import pytest

from taskmanager.libpq.address import read_address
from taskmanager.libpq.errors import AddressError
from tests.support.database_reports import outcome
from tests.support.tls_ways import Authority, make_authority, tls_way

UP_TO_DATE = (0, "The schema is up to date.\n")
REFUSED = "certificate verify failed"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("stranger"))


async def migrate(url: str, folder: Path, **environment: str) -> tuple[int, str]:
    return await outcome(url, folder, "migrate", environment=environment)


@pytest.mark.parametrize("mode", ["allow", "prefer", "require"])
async def test_encrypted_without_a_check(database_url: str, authority: Authority, tmp_path: Path, mode: str) -> None:
    async with tls_way(database_url, authority) as url:
        assert await migrate(f"{url}?sslmode={mode}", tmp_path) == UP_TO_DATE


async def test_without_encryption_there_is_nothing_behind_it(
    database_url: str, authority: Authority, tmp_path: Path
) -> None:
    async with tls_way(database_url, authority) as url:
        code, line = await migrate(f"{url}?sslmode=disable", tmp_path)
        assert (code, line.count("\n")) == (2, 1)


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_a_file_of_the_authority(
    database_url: str, authority: Authority, stranger: Authority, tmp_path: Path, mode: str
) -> None:
    async with tls_way(database_url, authority) as url:
        good = f"{url}?sslmode={mode}&sslrootcert={authority.file('ca.crt')}"
        assert await migrate(good, tmp_path) == UP_TO_DATE
        assert await migrate(url, tmp_path, PGSSLMODE=mode, PGSSLROOTCERT=authority.file("ca.crt")) == UP_TO_DATE
        # The certificate is for the name, which only verify-full looks at.
        address = good.replace("@localhost", "@127.0.0.1")
        code, line = await migrate(address, tmp_path)
        assert (code, line) == UP_TO_DATE if mode != "verify-full" else "127.0.0.1" in line
        for command in ("migrate", "serve", "doctor"):
            bad = f"{url}?sslmode={mode}&sslrootcert={stranger.file('ca.crt')}"
            code, printed = await outcome(bad, tmp_path, command)
            assert code in {1, 2}
            assert REFUSED in printed
            assert "Traceback" not in printed


async def test_the_authorities_of_the_system(database_url: str, authority: Authority, tmp_path: Path) -> None:
    async with tls_way(database_url, authority) as url:
        for query in ("sslrootcert=system", "sslmode=verify-full&sslrootcert=system"):
            assert await migrate(f"{url}?{query}", tmp_path, SSL_CERT_FILE=authority.file("ca.crt")) == UP_TO_DATE
            code, line = await migrate(f"{url}?{query}", tmp_path)
            assert (code, REFUSED in line) == (2, True)


async def test_a_certificate_of_the_client(database_url: str, authority: Authority, tmp_path: Path) -> None:
    pair = f"sslcert={authority.file('client.crt')}&sslkey={authority.file('client.key')}"
    root = f"sslmode=verify-full&sslrootcert={authority.file('ca.crt')}"
    async with tls_way(database_url, authority, wants_certificate=True) as url:
        assert await migrate(f"{url}?{root}&{pair}", tmp_path) == UP_TO_DATE
        system = f"{url}?sslrootcert=system&{pair}"
        assert await migrate(system, tmp_path, SSL_CERT_FILE=authority.file("ca.crt")) == UP_TO_DATE
        code, line = await migrate(f"{url}?{root}", tmp_path)
        assert (code, line.count("\n")) == (2, 1)


def test_files_that_are_no_good_are_named(authority: Authority, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no certificate")
    root = f"sslrootcert={authority.file('ca.crt')}"
    for query, message in (
        ("sslmode=verify-full", "sslmode verify-full needs sslrootcert"),
        ("sslmode=require&sslrootcert=/nonexistent", "sslrootcert cannot be read: No such file"),
        (f"sslmode=require&sslrootcert={text}", "sslrootcert is no PEM file"),
        (f"sslmode=require&sslrootcert={tmp_path}", "sslrootcert cannot be read: Is a directory"),
        (f"sslmode=require&{root}&sslcrl={text}", "sslcrl is no PEM file"),
        (f"sslcert={authority.file('client.crt')}&sslkey={authority.file('server.key')}", "sslcert and sslkey are no"),
        (f"sslcert={text}", "sslcert and sslkey are no"),
    ):
        with pytest.raises(AddressError, match=message):
            read_address(f"postgresql://h/d?{query}", {}).check_files()


def test_files_below_the_home_are_used_where_they_are_there(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ".postgresql"
    monkeypatch.setenv("HOME", str(tmp_path))
    address = read_address("postgresql://h/d?sslmode=verify-full", {})
    with pytest.raises(AddressError, match="needs sslrootcert"):
        address.check_files()
    folder.mkdir()
    (folder / "root.crt").write_bytes(Path(authority.file("ca.crt")).read_bytes())
    address.check_files()
    (folder / "postgresql.crt").write_text("no certificate")
    with pytest.raises(AddressError) as refused:
        address.check_files()
    assert refused.value.source == "HOME"
    # On a socket there is no TLS.
    read_address("postgresql:///d?host=/tmp&sslmode=verify-full", {}).check_files()
