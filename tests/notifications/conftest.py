"""Fixtures of the tests in this folder."""

import pytest

from tests.conftest import Person, SignUp
from tests.support.inboxes import share


@pytest.fixture
async def carol(sign_up: SignUp) -> Person:
    """A third person."""
    return await sign_up("Carol")


@pytest.fixture
async def project_id(alice: Person, bob: Person, carol: Person) -> int:
    """A project of Alice's with Bob and Carol as editors."""
    project_id = await alice.new_project("Garden")
    for person in (bob, carol):
        await share(alice, project_id, person)
    return project_id
