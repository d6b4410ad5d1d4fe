"""Fixtures of the tests in this folder."""

import pytest

from tests.conftest import Person, SignUp
from tests.support.credentials import Key, new_key


@pytest.fixture
async def administrator(sign_up: SignUp) -> Person:
    """An administrator."""
    return await sign_up("administrator", is_admin=True)


@pytest.fixture
async def key(administrator: Person) -> Key:
    """A key of the administrator's, for administration only."""
    return await new_key(administrator, "admin")


@pytest.fixture
async def carol(sign_up: SignUp) -> Person:
    """A third person."""
    return await sign_up("carol")
