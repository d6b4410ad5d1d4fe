"""How the lists of tags in If-Match and If-None-Match are read."""

import time

import pytest

from taskmanager.errors import MalformedHeaderError
from taskmanager.http.preconditions import matches_known, read_if_match, read_tags
from tests.support.entity_tags import MALFORMED, MATCHING, NOT_MATCHING


@pytest.mark.parametrize("value", MATCHING)
def test_a_version_is_recognised_in_any_form(value: str) -> None:
    versions = read_if_match(value).versions
    assert versions is None or 1 in versions
    assert matches_known(value, "1")


@pytest.mark.parametrize("value", NOT_MATCHING)
def test_and_in_nothing_else(value: str) -> None:
    assert 1 not in (read_if_match(value).versions or ())
    assert not matches_known(value, "1")


@pytest.mark.parametrize("value", MALFORMED)
def test_what_is_no_list_of_tags_is_malformed(value: str) -> None:
    with pytest.raises(MalformedHeaderError):
        read_if_match(value)
    assert not matches_known(value, "1")


@pytest.mark.parametrize(
    "value",
    [
        '"1"' + ", " * 30_000 + "x",
        '"1"' + " ,\t" * 20_000 + "x",
        ", " * 30_000 + "x",
        '"1", ' * 12_000 + "x",
        '"' + "1-gzip" * 10_000,
        '"' + "-gzip" * 12_000 + 'x"',
        '"' + "1-gzip;br--x-" * 5_000 + '"',
        'W/"1' + " " * 60_000,
    ],
    ids=lambda value: value[:12],
)
def test_a_long_one_takes_no_longer_than_its_length(value: str) -> None:
    started = time.perf_counter()
    read_tags(value)
    assert time.perf_counter() - started < 0.5
