"""Connection URIs, in every form that providers and libpq's documentation write them."""

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmanager.libpq.address import read_address
from taskmanager.libpq.errors import AddressError


def arguments(uri: str, **environment: str) -> dict[str, Any]:
    """Return what the driver gets of an address, without what it does not get."""
    given = read_address(uri, environment).connect_args()
    return {name: value for name, value in given.items() if value not in (None, False)}


NEON = "postgresql://me:pw@ep-a-1.eu-central-1.aws.neon.tech/db?sslmode=require"
SUPABASE = "postgresql://postgres.abc:pw@aws-0-eu-central-1.pooler.supabase.com:5432/postgres"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (NEON, {"host": ["ep-a-1.eu-central-1.aws.neon.tech"], "port": [5432], "dsn": "postgresql://?sslmode=require"}),
        (SUPABASE, {"user": "postgres.abc", "port": [5432], "database": "postgres"}),
        ("postgres://u:p@ec2-1.compute.amazonaws.com:5433/d", {"user": "u", "password": "p", "port": [5433]}),
        ("postgresql+asyncpg://u:p@h/d?ssl=require", {"dsn": "postgresql://?sslmode=require"}),
        ("postgresql://u@h/d?ssl=true", {"dsn": "postgresql://?sslmode=require"}),
        ("postgresql://u@h/d?requiressl=1", {"dsn": "postgresql://?sslmode=require"}),
        ("postgresql:///d?host=/var/run/postgresql", {"host": ["/var/run/postgresql"], "port": [5432]}),
        ("postgresql://%2Fvar%2Frun%2Fpostgresql/d", {"host": ["/var/run/postgresql"], "database": "d"}),
        ("postgresql://h1,h2:5433,[::1]/d", {"host": ["h1", "h2", "::1"], "port": [5432, 5433, 5432]}),
        ("postgresql:///d?host=h1,h2&port=5433", {"host": ["h1", "h2"], "port": [5433, 5433]}),
        ("postgresql://[fe80::1%25eth0]:5433/d", {"host": ["fe80::1%eth0"], "port": [5433]}),
        ("postgresql://u:p%40s%2Fs%3Aw%25@h/d", {"password": "p@s/s:w%"}),
        ("postgresql://u:p?s#s=w&x@h/d", {"password": "p?s#s=w&x"}),
        ("postgresql://u:p:q@h/d", {"password": "p:q"}),
        ("postgresql://h/d?user=a%40b&password=c&dbname=e", {"user": "a@b", "password": "c", "database": "e"}),
        ("postgresql://u@h", {"user": "u", "database": "u"}),
        ("postgresql://", {"port": 5432}),
        ("postgresql://u@h/d?hostaddr=10.0.0.1", {"host": ["10.0.0.1"]}),
        ("postgresql://u@h/d?target_session_attrs=read-write", {"target_session_attrs": "read-write"}),
        ("postgresql://u@h/d?sslmode=require&sslnegotiation=direct", {"direct_tls": True}),
    ],
)
def test_forms(uri: str, expected: dict[str, Any]) -> None:
    found = arguments(uri)
    assert {name: found.get(name) for name in expected} == expected


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("host=h dbname=d", "must look like postgresql://"),
        ("mysql://h/d", "must look like postgresql://"),
        ("postgresql://h:99999/d", "port must be a number from 1 to 65535"),
        ("postgresql://h:0/d", "port must be a number"),
        ("postgresql://h:5432x/d", "port must be a number"),
        ("postgresql://h1,h2:1,h3:2/d?port=1,2", "port must be one number, or as many as there are hosts"),
        ("postgresql://u:p@w@h/d", "written as %40"),
        ("postgresql://u:p/w@h/d", "written as %40"),
        ("postgresql://u:5/w?hidden=p@h/d", "a parameter that libpq does not know; special characters"),
        ("postgresql://u:p%w@h/d", "% must be written as %25"),
        ("postgresql://u:%ff@h/d", "must be UTF-8"),
        ("postgresql://u:%00@h/d", "%00"),
        ("postgresql://[::1/d", "written as %40"),
        ("postgresql://[::1]x/d", "written as %40"),
        ("postgresql://a..b/d", "host is no name of a host"),
        ("postgresql://h/d?sslmode", "name=value"),
        ("postgresql://h/d?options=endpoint=x", "written as %3D"),
        ("postgresql://h/d?pgbouncer=true", "pgbouncer is no parameter of libpq"),
        ("postgresql://h/d?hostaddr=10.0.0.1&sslmode=verify-full", "hostaddr is not supported with sslmode"),
        ("postgresql://h1,h2/d?hostaddr=10.0.0.1", "as many elements as host"),
        ("postgresql://h/d?connect_timeout=soon", "connect_timeout must be a whole number of seconds"),
        ("postgresql://h/d?sslmode=require&sslrootcert=system", "sslrootcert system needs sslmode=verify-full"),
        ("postgresql://h/d?sslnegotiation=direct", "sslnegotiation direct needs"),
        (
            "postgresql://h/d?ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2",
            "must not be above ssl_max_protocol_version",
        ),
    ],
)
def test_what_is_refused(uri: str, message: str) -> None:
    with pytest.raises(AddressError) as refused:
        read_address(uri, {})
    assert message in str(refused.value)
    assert refused.value.source is None
    assert "hidden" not in str(refused.value)


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(user=TEXTS, password=TEXTS, database=TEXTS)
def test_any_text_can_be_written_with_escapes(user: str, password: str, database: str) -> None:
    uri = f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@h/{quote(database, safe='')}"
    found = arguments(uri)
    assert (found["user"], found["password"], found["database"]) == (user, password, database)


@given(st.text(st.sampled_from("ab@:/?#[]%&=,.19 \t\u00fc\udcff") | st.characters()))
def test_any_other_text_is_read_or_refused_in_one_line(rest: str) -> None:
    message = ""
    try:
        read_address(f"postgresql://{rest}", {}).connect_args()
    except AddressError as error:
        message = str(error)
    assert len(message.splitlines()) <= 1


@pytest.mark.parametrize("load", ["disable", "random"])
def test_hosts_are_tried_in_their_order_unless_load_is_balanced(load: str) -> None:
    address = read_address(f"postgresql://a:1,b:2,c:3/d?load_balance_hosts={load}", {})
    found = set()
    for _ in range(100):
        given = address.connect_args()
        assert set(zip(given["host"], given["port"], strict=True)) == {("a", 1), ("b", 2), ("c", 3)}
        found.add(tuple(given["host"]))
    assert len(found) == (1 if load == "disable" else 6)


def test_an_address_shows_no_secret() -> None:
    address = read_address("postgresql://u:hunter2@h:5433/d?sslpassword=hunter2", {})
    assert str(address) == "h:5433/d"
    assert "hunter2" not in repr(address)
