"""Fixtures of the tests in this folder."""

import pytest

from tests.conftest import Person


@pytest.fixture
async def project_id(alice: Person) -> int:
    """A project of Alice's."""
    return await alice.new_project()


@pytest.fixture
async def source(alice: Person) -> int:
    """Where the task is."""
    return await alice.new_project("Source")


@pytest.fixture
async def target(alice: Person) -> int:
    """Where it goes."""
    return await alice.new_project("Target")
