"""Fixtures of the tests in this folder."""

import httpx
import pytest

from tests.conftest import Person
from tests.support.credentials import Tokens, log_in


@pytest.fixture
async def login(client: httpx.AsyncClient, alice: Person) -> Tokens:
    """A fresh login of Alice's."""
    return await log_in(client, "alice")
