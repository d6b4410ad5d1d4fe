"""Fixtures for the tests of clients; pytest finds them where this package is installed."""

from collections.abc import Iterator

import pytest

from taskmanager.testing.instance import Instance

_OPTIONS = "task_manager_options"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the configuration of pytest name more options of the command."""
    parser.addini(_OPTIONS, "Further options of `taskmanager dev --ephemeral`.", type="args", default=[])


@pytest.fixture(scope="session")
def task_manager_instance(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """Yield a service that all tests of this process share; each worker of pytest-xdist has its own."""
    with Instance(tmp_path_factory.mktemp("task-manager"), pytestconfig.getini(_OPTIONS)) as instance:
        yield instance


@pytest.fixture
def task_manager(task_manager_instance: Instance) -> Instance:
    """Return a service without any data: that of the session, emptied before the test."""
    task_manager_instance.reset()
    return task_manager_instance
