"""What a webhook's URL may be."""

import pytest

from taskmanager.webhooks.targets import Target, UnacceptableTargetError, read_target

GOOD = {
    "https://example.com": Target("https", "example.com", 443, "/"),
    "HTTPS://Example.COM/A?b=c": Target("https", "example.com", 443, "/A?b=c"),
    "https://example.com:8443/x": Target("https", "example.com", 8443, "/x"),
    "https://example.com:/x": Target("https", "example.com", 443, "/x"),
    "https://example.com./x": Target("https", "example.com", 443, "/x"),
    "https://xn--bcher-kva.example/%C3%BC": Target("https", "xn--bcher-kva.example", 443, "/%C3%BC"),
    "https://[2606:4700::1]:444/": Target("https", "2606:4700::1", 444, "/"),
    "http://inside:5678/hook": Target("http", "inside", 5678, "/hook"),
}
BAD = (
    *("", "example.com", "//example.com", "ftp://example.com", "file:///etc/passwd", "gopher://example.com"),
    *("http://example.com", "http://inside.example.com", "https://", "https:///x", "https://:443/", "https://?x"),
    *("https://user@example.com", "https://user:secret@example.com", "https://@example.com", "https://a@b@c/"),
    *("https://example.com#x", "https://example.com/#", "https://example.com:0/", "https://example.com:65536/"),
    *("https://example.com:x/", "https://example.com:-1/", "https://exa mple.com/", "https://example.com/a b"),
    *("https://example.com/\r\nHost: x", "https://example.com/\x00", "https://example.com/\t", " https://example.com"),
    *(
        "https://bücher.example/",
        "https://\uff11\uff12\uff17.0.0.1/",
        "https://example\u3002com/",
        "https://example.com\\@inside/",
    ),
    *("https://%31%32%37.0.0.1/", "https://[::1", "https://::1/", "https://[fe80::1%25eth0]/", "https://[x]/"),
    *("https://-example.com/", "https://example.com-/", "https://a..-/", f"https://{'a' * 254}/"),
    *('https://example.com/"', "https://example.com/<x>{", "https://example.com/^", "https://example.com/`"),
)


@pytest.mark.parametrize("url", GOOD)
def test_good_ones(url: str) -> None:
    assert read_target(url, {"inside"}) == GOOD[url]


@pytest.mark.parametrize("url", BAD)
def test_others_are_refused(url: str) -> None:
    with pytest.raises(UnacceptableTargetError):
        read_target(url, {"inside"})


def test_the_host_header_names_a_port_that_is_not_the_usual() -> None:
    for url, authority in (
        ("https://example.com/", "example.com"),
        ("https://example.com:8443/", "example.com:8443"),
        ("https://[2606:4700::1]:444/", "[2606:4700::1]:444"),
    ):
        assert read_target(url).authority == authority
