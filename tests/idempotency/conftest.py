"""Fixtures of the tests in this folder."""

import pytest

from tests.conftest import Person
from tests.support.keyed_writes import KINDS, KeyedWrite, make_write


@pytest.fixture(params=KINDS)
async def write(request: pytest.FixtureRequest, alice: Person, bob: Person) -> KeyedWrite:
    """One of each kind, as Alice sends it."""
    return await make_write(request.param, alice, bob)
