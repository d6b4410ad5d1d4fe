"""ALLOWED_ORIGINS: what people write becomes what browsers send, or the service does not start."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskmanager.main import create_app
from taskmanager.origins import normalised_origins
from tests.conftest import make_settings
from tests.support.applications import without_lifespan


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("https://app.example.com/", "https://app.example.com"),
        ("HTTPS://App.Example.COM", "https://app.example.com"),
        ("https://app.example.com:443", "https://app.example.com"),
        ("https://app.example.com:443/", "https://app.example.com"),
        ("http://app.example.com:80", "http://app.example.com"),
        ("https://app.example.com:80", "https://app.example.com:80"),
        ("http://localhost:3000/", "http://localhost:3000"),
        ("https://app.example.com:", "https://app.example.com"),
        ("https://app.example.com:08443", "https://app.example.com:8443"),
        ("https://b\u00fccher.example", "https://xn--bcher-kva.example"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://[0:0:0:0:0:0:0:1]:80/", "http://[::1]"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
        (" https://a.example ,https://A.example/", "https://a.example"),
    ],
)
async def test_a_page_may_call(database_url: str, written: str, sent: str) -> None:
    assert normalised_origins(written) == (sent,)
    async with without_lifespan(
        create_app(make_settings(database_url=database_url, allowed_origins=written))
    ) as client:
        answer = await client.get("/livez", headers={"Origin": sent})
        assert answer.headers["Access-Control-Allow-Origin"] == sent
        preflight = {"Origin": sent, "Access-Control-Request-Method": "GET"}
        assert (await client.options("/livez", headers=preflight)).status_code == httpx.codes.OK


@pytest.mark.parametrize(
    "written",
    [
        "app.example.com",
        "localhost:3000",
        "https://",
        "https://app.example.com/app",
        "https://app.example.com//",
        "https://app.example.com?x",
        "https://app.example.com#x",
        "https://user@app.example.com",
        "https://*.example.com",
        "https://app.example.com:99999",
        "https://app.example.com:0",
        "https://app.example.com:https",
        "https://[::1",
        "https://[app]",
        "https://a b.example",
        "https://a..example",
        "null",
        "'https://app.example.com'",
        "https://a.example;https://b.example",
    ],
)
def test_what_no_browser_sends_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"no browser sends .*https://app\.example\.com"):
        normalised_origins(f"https://a.example,{written}")


@given(st.text(st.sampled_from("htps:/.[]@*,?#1 ") | st.characters()))
def test_any_other_text_is_read_or_refused(written: str) -> None:
    try:
        found = normalised_origins(written)
    except ValueError:
        found = ()
    assert normalised_origins(found) == found
    assert all(origin.isascii() for origin in found)
