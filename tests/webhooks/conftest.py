"""A receiver for each test."""

from collections.abc import AsyncIterator

import pytest

from tests.support.webhook_receivers import Receiver, receiving


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that accepts everything."""
    async with receiving() as receiver:
        yield receiver
