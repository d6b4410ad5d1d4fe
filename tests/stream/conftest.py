"""An application whose streams last."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI

from taskmanager.stream.feed import StreamFeed


@pytest.fixture(autouse=True)
def lasting(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let streams of the application last, and end with the test."""
    feed: StreamFeed = app.state.stream_feed
    monkeypatch.setattr(feed, "longest_seconds", 3_600.0)
    yield
    assert not app.state.tailer.audience.streams
