"""What the tests of people share."""

import pytest

from tests.conftest import Person


@pytest.fixture
async def garden(alice: Person, bob: Person) -> int:
    """A project of Alice's in which Bob is an editor."""
    project_id = await alice.new_project("Garden")
    await alice.post(f"/projects/{project_id}/members", {"username": "bob", "role": "editor"})
    return project_id
