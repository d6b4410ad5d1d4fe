"""Fixtures of the tests in this folder."""

import pytest

from tests.conftest import Person, SignUp


@pytest.fixture
async def carol(sign_up: SignUp) -> Person:
    """A third person."""
    return await sign_up("carol")


@pytest.fixture
async def project_id(alice: Person) -> int:
    """A project of Alice's."""
    return await alice.new_project()
