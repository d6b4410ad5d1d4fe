"""Every parameter of libpq 18 and its variable: what it means reaches the server, or it is refused by its name."""

from pathlib import Path

import pytest
from sqlalchemy import text

from taskmanager.database.database import Database
from taskmanager.libpq.address import read_address
from taskmanager.libpq.errors import AddressError
from taskmanager.libpq.parameters import PARAMETERS, VARIABLES, Use
from tests.conftest import make_settings
from tests.support.command_line import run
from tests.support.database_reports import outcome
from tests.support.databases import temporary_database

# PostgreSQL 18's documentation, 32.1.2.
LIBPQ_18 = """
    host hostaddr port dbname user password passfile require_auth channel_binding connect_timeout client_encoding
    options application_name fallback_application_name keepalives keepalives_idle keepalives_interval keepalives_count
    tcp_user_timeout replication gssencmode sslmode sslnegotiation sslcompression sslcert sslkey sslkeylogfile
    sslpassword sslcertmode sslrootcert sslcrl sslcrldir sslsni requirepeer ssl_min_protocol_version
    ssl_max_protocol_version min_protocol_version max_protocol_version krbsrvname gsslib gssdelegation
    scram_client_key scram_server_key service target_session_attrs load_balance_hosts oauth_issuer oauth_client_id
    oauth_client_secret oauth_scope
"""
# Its documentation, 32.15, without the paths of translations and what the service sets itself.
VARIABLES_18 = """
    PGHOST PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSWORD PGPASSFILE PGREQUIREAUTH PGCHANNELBINDING PGSERVICE
    PGSERVICEFILE PGOPTIONS PGAPPNAME PGSSLMODE PGREQUIRESSL PGSSLNEGOTIATION PGSSLCOMPRESSION PGSSLCERT PGSSLKEY
    PGSSLCERTMODE PGSSLROOTCERT PGSSLCRL PGSSLCRLDIR PGSSLSNI PGREQUIREPEER PGSSLMINPROTOCOLVERSION
    PGSSLMAXPROTOCOLVERSION PGGSSENCMODE PGKRBSRVNAME PGGSSLIB PGGSSDELEGATION PGCONNECT_TIMEOUT PGCLIENTENCODING
    PGTARGETSESSIONATTRS PGLOADBALANCEHOSTS PGMINPROTOCOLVERSION PGMAXPROTOCOLVERSION PGSYSCONFDIR
"""
HARMLESS = {
    "channel_binding": "prefer",
    "client_encoding": "LATIN1",
    "connect_timeout": "10",
    "fallback_application_name": "other",
    "gssencmode": "disable",
    "gssdelegation": "0",
    "gsslib": "gssapi",
    "keepalives": "1",
    "keepalives_count": "3",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "krbsrvname": "postgres",
    "load_balance_hosts": "random",
    "max_protocol_version": "latest",
    "min_protocol_version": "3.0",
    "options": "-c%20work_mem%3D1MB",
    "prepared_statement_cache_size": "50",
    "replication": "false",
    "ssl_max_protocol_version": "tlsv1.3",
    "ssl_min_protocol_version": "TLSv1.2",
    "sslcertmode": "allow",
    "sslcompression": "0",
    "sslmode": "prefer",
    "sslnegotiation": "postgres",
    "sslsni": "1",
    "target_session_attrs": "read-write",
    "tcp_user_timeout": "1000",
}


def with_query(database_url: str, query: str) -> str:
    separator = "&" if "?" in database_url else "?"
    return f"{database_url}{separator}{query}"


async def show(url: str, setting: str) -> str:
    database = Database(make_settings(database_url=url))
    try:
        async with database.reader() as session:
            return str((await session.execute(text(f"SHOW {setting}"))).scalar_one())
    finally:
        await database.dispose()


def test_each_parameter_and_each_variable_is_known() -> None:
    assert set(LIBPQ_18.split()) == PARAMETERS.keys() - {"prepared_statement_cache_size"}
    assert set(VARIABLES_18.split()) == VARIABLES


@pytest.mark.parametrize(("name", "value"), HARMLESS.items())
async def test_what_a_driver_can_do_is_no_obstacle(database_url: str, name: str, value: str) -> None:
    assert await show(with_query(database_url, f"{name}={value}"), "timezone") == "UTC"


async def test_several_together(database_url: str) -> None:
    query = "sslmode=prefer&connect_timeout=10&application_name=billing&options=-c%20geqo%3Doff"
    url = with_query(database_url, query)
    assert await show(url, "application_name") == "billing"
    assert await show(url, "geqo") == "off"
    # What the service is measured with stays.
    assert await show(url, "jit") == "off"


@pytest.mark.parametrize("name", [name for name, found in PARAMETERS.items() if found.use is Use.REFUSED])
@pytest.mark.parametrize("from_environment", [False, True])
def test_what_the_driver_cannot_do_is_refused_by_its_name(name: str, from_environment: bool) -> None:
    variable = PARAMETERS[name].variable
    if from_environment and variable is None:
        return
    uri, environment = "postgresql://h/d", {}
    if from_environment:
        environment = {str(variable): "require"}
    else:
        uri = f"{uri}?{name}=require"
    with pytest.raises(AddressError) as refused:
        read_address(uri, environment)
    assert "is not supported" in str(refused.value)
    assert refused.value.source == (variable if from_environment else None)
    assert from_environment or str(refused.value).startswith(f"{name} ")


@pytest.mark.parametrize("variable", sorted(VARIABLES - {"PGREQUIRESSL"}))
@pytest.mark.parametrize("value", ["abc", "99999999999", "\N{SNOWMAN}", "a\nb", " "])
def test_any_value_of_a_variable_is_understood_or_refused_by_its_name(variable: str, value: str) -> None:
    source: str | None = variable
    try:
        read_address("postgresql:///d", {variable: value, "HOME": "/nonexistent"}).check_files()
    except AddressError as error:
        source = error.source
    assert source == variable


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PGPORT", "abc"),
        ("PGPORT", "99999"),
        ("PGSSLMODE", "sometimes"),
        ("PGCHANNELBINDING", "require"),
        ("PGCONNECT_TIMEOUT", "soon"),
        ("PGSSLROOTCERT", "/nonexistent"),
        ("PGSERVICE", "unknown"),
        ("PGHOST", "a..b"),
    ],
)
@pytest.mark.parametrize(
    "command",
    ["serve", "migrate", "doctor", "dev", "user create u u@example.com", "key create u --name k --scope tasks:read"],
)
def test_each_command_names_the_variable_in_one_line(tmp_path: Path, variable: str, value: str, command: str) -> None:
    uri = "postgresql://u@/d" if variable == "PGHOST" else "postgresql://u@127.0.0.1/d"
    environment = {"DATABASE_URL": uri, "SECRET_KEY": "0123456789abcdef" * 2, variable: value}
    if command == "dev":
        del environment["SECRET_KEY"]
    result = run(*command.split(), environment=environment, cwd=tmp_path)
    if command == "doctor":
        assert result.returncode == 1
        (line,) = [line for line in result.stdout.splitlines() if line.startswith("problem")]
        assert line.startswith(f"problem  {variable}: ")
        assert result.stderr == ""
    else:
        assert result.returncode == 2
        assert result.stderr.startswith(f"taskmanager: {variable}: ")
        assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["serve", "migrate", "dev", "user create u u@example.com"])
@pytest.mark.parametrize(
    "uri", ["postgresql://u:hunter2@h:99999/d", "postgresql://u:hunter2@h/d?channel_binding=require"]
)
def test_each_command_names_the_url_in_one_line(tmp_path: Path, command: str, uri: str) -> None:
    environment = {"DATABASE_URL": uri} | ({} if command == "dev" else {"SECRET_KEY": "0123456789abcdef" * 2})
    result = run(*command.split(), environment=environment, cwd=tmp_path)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith("taskmanager: DATABASE_URL: ")
    assert "hunter2" not in result.stderr


class TestPriority:
    """The URI, then the service file, then the environment."""

    def test_the_uri_wins(self) -> None:
        environment = {"PGHOST": "e", "PGPORT": "abc", "PGUSER": "e", "PGSSLMODE": "bogus", "PGAPPNAME": "e"}
        address = read_address("postgresql://u@h:1/d?sslmode=disable&application_name=a", environment)
        assert (address.hosts, address.ports, address.server_settings) == (("h",), (1,), {"application_name": "a"})

    def test_the_environment_fills_what_is_missing(self) -> None:
        environment = {"PGHOST": "e1,e2", "PGPORT": "5433", "PGUSER": "e", "PGPASSWORD": "p", "PGREQUIRESSL": "1"}
        given = read_address("postgresql:///d", environment).connect_args()
        assert (given["host"], given["port"], given["user"], given["password"]) == (["e1", "e2"], [5433] * 2, "e", "p")
        assert given["dsn"] == "postgresql://?sslmode=require"

    def test_white_space_is_part_of_a_password_only(self) -> None:
        environment = {"PGPASSWORD": " p ", "PGPORT": " 5433\n", "PGUSER": " "}
        given = read_address("postgresql:///d", environment).connect_args()
        assert (given["password"], given["port"], given["user"]) == (" p ", 5433, None)

    def test_a_service(self, tmp_path: Path) -> None:
        file = tmp_path / "services"
        file.write_text("# ours\n[other]\nhost=o\n\n[tasks]\nhost=s\nport=5433\npassword=100%\n[tasks]\nhost=late\n")
        environment = {"PGSERVICEFILE": str(file), "PGHOST": "e", "PGUSER": "e"}
        for uri, more in (("postgresql:///d?service=tasks", {}), ("postgresql:///d", {"PGSERVICE": "tasks"})):
            given = read_address(uri, environment | more).connect_args()
            assert (given["host"], given["port"]) == (["s"], [5433])
            assert (given["user"], given["password"], given["database"]) == ("e", "100%", "d")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"[tasks]\nport=99999\n", "port must be a number"),
            (b"[tasks]\nfoo=1\n", "is no parameter of libpq"),
            (b"[tasks]\nldap://x/y\n", "is no parameter of libpq"),
            (b"[tasks]\nhost=\xff\n", "is not UTF-8"),
            (b"[other]\n", "is not defined"),
        ],
    )
    def test_a_service_that_is_none(self, tmp_path: Path, content: bytes, message: str) -> None:
        (tmp_path / ".pg_service.conf").write_bytes(content)
        with pytest.raises(AddressError) as refused:
            read_address("postgresql:///d?service=tasks", {"HOME": str(tmp_path)})
        assert message in str(refused.value)
        assert str(tmp_path) in f"{refused.value.source}{refused.value}"


@pytest.mark.parametrize(
    ("query", "values", "expected"),
    [
        ("", {}, 6.0),
        ("connect_timeout=10", {}, 10.0),
        ("connect_timeout=0", {}, 30.0),
        ("connect_timeout=100", {}, 30.0),
        ("connect_timeout=10", {"database_connect_timeout_seconds": 3.0}, 3.0),
    ],
)
async def test_the_time_out_of_the_address_holds_unless_the_setting_is_set(
    database_url: str, monkeypatch: pytest.MonkeyPatch, query: str, values: dict[str, float], expected: float
) -> None:
    seen: list[float] = []

    async def connect(**options: float) -> None:
        seen.append(options["timeout"])
        raise OSError

    monkeypatch.setattr("taskmanager.database.connection_opener.asyncpg.connect", connect)
    database = Database(make_settings(database_url=with_query(database_url, query), **values))
    with pytest.raises(OSError):
        await database.check_schema()
    await database.dispose()
    assert seen == [expected]


async def test_extensions_where_the_options_lead(database_url: str, tmp_path: Path) -> None:
    """As Supabase has it: the extensions are in a schema of their own."""
    async with temporary_database(database_url) as plain:
        url = with_query(plain, "options=-c%20search_path%3Dpublic,extensions&application_name=tasks")
        connection = Database(make_settings(database_url=plain))
        async with connection.reader() as session:
            for statement in ("SCHEMA extensions", "EXTENSION pg_trgm SCHEMA extensions", "EXTENSION btree_gin"):
                await session.execute(text(f"CREATE {statement}"))
        await connection.dispose()
        assert await outcome(url, tmp_path, "migrate") == (0, "The schema is up to date.\n")
        code, printed = await outcome(url, tmp_path, "doctor")
        assert code == 0, printed
