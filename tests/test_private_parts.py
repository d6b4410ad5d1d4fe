"""What the service uses of libraries below their documented surface: in one folder each, and of one version.

A new minor version of a library fails here. Then read its changes to the parts named below, run the tests of the
folder, and raise both the number here and the bounds in pyproject.toml.
"""

import ast
import inspect
import pkgutil
import tomllib
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

import taskmanager

SOURCES = Path(taskmanager.__file__).parent
LIBRARIES = {"asyncpg", "fastapi", "sqlalchemy", "starlette", "uvicorn"}


class Private(NamedTuple):
    """A library: the minor version whose parts are used, the only folder that overrides private ones, and which."""

    minor: str
    folder: str
    overridden: frozenset[str] = frozenset()


PRIVATE = {
    # CorkedHttpProtocol and LeanCycle: the cycles' class, the flow of the connection, its pipeline, its timer, and its
    # parser, which stops where another protocol is offered.
    "uvicorn": Private(
        "0.54", "server", frozenset({"_should_upgrade", "_start_asgi_task", "_unset_keepalive_if_required"})
    ),
    # An InternalClientError is a connection that the server has closed and the driver does not know of yet.
    # A connection through a pooler closes where the driver would ask the server to cancel.
    "asyncpg": Private("0.32", "database", frozenset({"_cancel_current_command"})),
    # StrictRoute: the dependants, their fields and the order of matches; the scope's key of the telemetry.
    "fastapi": Private("0.165", "http"),
}


def _names() -> Iterator[tuple[str, Path, str]]:
    """Yield each private name that a module of ours reads from something that is not its own."""
    own = set[str]()
    uses: list[tuple[Path, str]] = []
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                own.add(node.attr)
            elif isinstance(node, ast.AnnAssign):
                own.add(ast.unparse(node.target).rpartition(".")[2])
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                own.add(node.id)
            elif isinstance(node, ast.Attribute):
                uses.append((path, node.attr))
            elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in LIBRARIES:
                uses += [(path, name) for alias in node.names for name in (*(node.module or "").split("."), alias.name)]
    return (
        ("reads", path, name)
        for path, name in uses
        if name.startswith("_") and not name.endswith("__") and name not in own
    )


def _overridden() -> Iterator[tuple[str, str, str]]:
    """Yield the library, the folder of ours and the name of each private method of a library that is overridden."""
    for module in pkgutil.walk_packages(taskmanager.__path__, "taskmanager."):
        if module.name.endswith(("__main__", "aws_lambda", "gunicorn_worker")):  # one runs, two need an extra
            continue
        for kind in vars(import_module(module.name)).values():
            if not inspect.isclass(kind) or kind.__module__ != module.name:
                continue
            for base in kind.__mro__[1:]:
                library = base.__module__.partition(".")[0]
                if library in LIBRARIES:
                    names = (name for name, value in vars(kind).items() if inspect.isfunction(value))
                    yield from (
                        (library, module.name.split(".")[1], name)
                        for name in names
                        if name.startswith("_") and not name.endswith("__") and name in vars(base)
                    )


def test_no_private_name_of_a_library_is_read() -> None:
    harmless = {"_replace", "_asdict", "_fields", "_exit"}  # documented, in spite of their names
    assert [use for use in _names() if use[2] not in harmless] == []


def test_private_methods_are_overridden_in_one_folder_only() -> None:
    declared = {(library, private.folder, name) for library, private in PRIVATE.items() for name in private.overridden}
    assert set(_overridden()) == declared


def test_a_class_is_changed_in_one_place_only() -> None:
    places = [path for path in SOURCES.rglob("*.py") if "__class__ =" in path.read_text(encoding="utf-8")]
    assert places == [SOURCES / "server" / "uvicorn_protocol.py"]


@pytest.mark.parametrize("library", PRIVATE)
def test_the_version_is_the_one_whose_parts_are_known(library: str) -> None:
    minor = PRIVATE[library].minor
    assert version(library).rpartition(".")[0] == minor
    major, _, number = minor.partition(".")
    project = tomllib.loads((SOURCES.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    options = [one for group in project["optional-dependencies"].values() for one in group]
    bounds = [
        one.partition(">=")[2]
        for one in (*project["dependencies"], *options)
        if one.partition(">=")[0].partition("[")[0] == library
    ]
    assert bounds
    assert set(bounds) == {f"{minor},<{major}.{int(number) + 1}"}


def test_the_parts_are_there() -> None:
    assert callable(HttpToolsProtocol._should_upgrade)
    assert callable(HttpToolsProtocol._start_asgi_task)
    assert callable(HttpToolsProtocol._unset_keepalive_if_required)
    assert callable(HttpToolsProtocol.timeout_keep_alive_handler)
    assert callable(HttpToolsProtocol.send_400_response)
    assert inspect.signature(RequestResponseCycle.send).parameters.keys() == {"self", "message"}
    assert issubclass(asyncpg.InternalClientError, Exception)
    assert {"query_params", "dependencies"} <= set(Dependant.__dataclass_fields__)
    assert callable(APIRoute.get_route_handler)
    assert callable(FastAPI.build_middleware_stack)
