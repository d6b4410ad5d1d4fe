"""docs/how-to-add-a-feature.md is true: whoever follows it in a copy of the source has a feature that works."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from taskmanager.features import Feature
from taskmanager.main import FEATURES, create_app
from taskmanager.settings import Settings
from tests.conftest import PASSWORD, SECRET
from tests.support import access_rules
from tests.support.applications import started
from tests.support.databases import temporary_database
from tests.support.live_server import RATE_LIMITS
from tests.support.ports import free_port

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "how-to-add-a-feature.md").read_text()
_FILE = re.compile(r"^`(src/[\w/]+\.py)`[^`].*?^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = dict(_FILE.findall(PAGE))
_IMPORT = re.compile(r"^```python\n(from taskmanager\.labels\.feature import .*)\n```$", re.MULTILINE)
_MIGRATION = re.compile(r"^```python\n(def upgrade.*?)^```$", re.MULTILINE | re.DOTALL)
_ROWS = re.compile(r"^```python\n((?:    .*\n)+)```$", re.MULTILINE)
ROUTES = {
    ("GET", "/projects/{project_id}/labels"),
    ("POST", "/projects/{project_id}/labels"),
    ("GET", "/projects/{project_id}/labels/{label_id}"),
}
# Says what an application of the copy is made of.
_LOOK = """
import json, taskmanager
from taskmanager.database.checks import table_modules
from taskmanager.http.front import Front
from taskmanager.main import create_app
from taskmanager.settings import Settings
layer = create_app(Settings()).build_middleware_stack()
while not isinstance(layer, Front):
    layer = layer.app
labels = [(method, one) for method, one in layer.table if "/labels" in one.template and method != "HEAD"]
print(json.dumps({
    "file": taskmanager.__file__,
    "tables": table_modules(),
    "routes": [(method, one.template) for method, one in labels],
    "compiled": [(method, one.template) for method, one in labels if one in layer.bound],
}))
"""
_START_MIGRATION = "from taskmanager.database.schema_migrations import start_migration; start_migration('add labels')"
_CHECK_SCHEMA = """
from alembic import command
from taskmanager.database.schema_migrations import alembic_config
from taskmanager.settings import Settings
command.check(alembic_config(str(Settings().database_url)))
"""


@dataclass
class Source:
    """A copy of the source, with labels."""

    folder: Path

    def environment(self, database_url: str) -> dict[str, str]:
        """Return the environment of a process that runs this source."""
        unlimited = {name.upper(): "0" for name in RATE_LIMITS}
        named = {"PYTHONPATH": str(self.folder / "src"), "DATABASE_URL": database_url, "SECRET_KEY": SECRET}
        return {"PATH": os.environ["PATH"], **unlimited, **named, "DRAIN_SECONDS": "0"}

    def run(self, *arguments: str, database_url: str = "postgresql://nowhere/none") -> str:
        """Return what Python prints."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment(database_url),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run_tool(self, name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a tool of the project on this source."""
        return subprocess.run(
            [Path(sys.executable).with_name(name), *arguments],
            cwd=self.folder,
            env=self.environment("postgresql://nowhere/none"),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """A copy of the source in which somebody has followed the page."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("src", "migrations"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "src/taskmanager/labels").mkdir()
    (folder / "src/taskmanager/labels/__init__.py").touch()
    for name, text in FILES.items():
        assert not (folder / name).exists()
        (folder / name).write_text(text)
    source = Source(folder)
    source.run("-c", _START_MIGRATION)
    [migration] = (folder / "migrations" / "versions").glob("*_add_labels.py")
    head, _, _ = migration.read_text().partition("def upgrade")
    migration.write_text(head + _MIGRATION.findall(PAGE)[0])
    main = folder / "src/taskmanager/main.py"
    text = main.read_text()
    [imported] = _IMPORT.findall(PAGE)
    before = "from taskmanager.lifespan import"
    assert text.count(before) == text.count("    ADMINISTRATION,\n)") == 1
    text = text.replace(before, f"{imported}\n{before}")
    main.write_text(text.replace("    ADMINISTRATION,\n)", "    ADMINISTRATION,\n    LABELS,\n)"))
    return source


@contextmanager
def served(source: Source, database_url: str) -> Iterator[str]:
    """Migrate a database and serve it; yield the URL of the API."""
    source.run("-m", "taskmanager", "migrate", database_url=database_url)
    port = str(free_port())
    with (source.folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "taskmanager", "serve", "--workers", "1"],
            cwd=source.folder,
            env={**source.environment(database_url), "PORT": port},
            stdout=log,
            stderr=log,
        )
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}/readyz", process)
        yield f"http://127.0.0.1:{port}/api/v1"
    finally:
        process.terminate()
        process.wait(30)


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the server did not get ready")


@asynccontextmanager
async def person(url: str, name: str) -> AsyncIterator[httpx.AsyncClient]:
    """Register somebody, and yield their client."""
    async with httpx.AsyncClient(base_url=url, verify=False) as client:  # no TLS, so nothing to verify
        account = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
        assert (await client.post("/users", json=account)).status_code == 201
        answer = await client.post("/token", data={"username": name, "password": PASSWORD})
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield client


async def use_labels(owner: httpx.AsyncClient, viewer: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
    """Do with labels all that can be done."""
    project = (await owner.post("/projects", json={"name": "A project"})).json()["id"]
    member = {"username": "viewer", "role": "viewer"}
    assert (await owner.post(f"/projects/{project}/members", json=member)).status_code == 201
    path = f"/projects/{project}/labels"

    created = await owner.post(path, json={"name": " urgent "})
    label = created.json()
    assert created.status_code == 201
    assert (label["name"], label["project_id"], label["version"]) == ("urgent", project, 1)
    assert created.headers["location"] == f"/api/v1{path}/{label['id']}"
    assert created.headers["etag"] == '"1"'
    read = await owner.get(f"{path}/{label['id']}")
    assert (read.status_code, read.json(), read.headers["etag"]) == (200, label, '"1"')
    known = await owner.get(f"{path}/{label['id']}", headers={"If-None-Match": '"1"'})
    assert known.status_code == 304

    key = {"Idempotency-Key": "once"}
    first, again = [await owner.post(path, json={"name": "later"}, headers=key) for _ in range(2)]
    assert (again.status_code, again.content) == (first.status_code, first.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    listed = await viewer.get(path, params={"limit": 1})
    assert listed.json()["labels"] == [label]
    following = await viewer.get(path, params={"limit": 1, "cursor": listed.json()["next_cursor"]})
    assert following.json() == {"labels": [first.json()], "next_cursor": None}

    for answer in (await stranger.get(path), await stranger.post(path, json={"name": "x"})):
        assert (answer.status_code, answer.json()["type"]) == (404, read_type(answer, "not-found"))
    refused = await viewer.post(path, json={"name": "x"})
    assert (refused.status_code, refused.json()["type"]) == (403, read_type(refused, "role-too-low"))
    for body in ({}, {"name": ""}, {"name": "x" * 51}, {"name": "x", "more": 1}):
        assert (await owner.post(path, json=body)).status_code == 422

    assert (await owner.patch(f"/projects/{project}", json={"archived": True})).status_code == 200
    archived = await owner.post(path, json={"name": "x"})
    assert (archived.status_code, archived.json()["type"]) == (409, read_type(archived, "project-archived"))
    assert len((await owner.get(path)).json()["labels"]) == 2
    assert (await owner.delete(f"/projects/{project}")).status_code == 204
    assert (await owner.get(path)).status_code == 404


def read_type(answer: httpx.Response, name: str) -> str:
    """Return the type of an answer's problem, whose last part has to be this name."""
    kind: str = answer.json()["type"]
    assert re.split("[:/#]", kind)[-1] == name, kind
    return kind


def test_the_page_names_each_file() -> None:
    names = [f"src/taskmanager/labels/{name}.py" for name in ("models", "schemas", "repository", "routes", "feature")]
    assert list(FILES) == names


def test_the_application_finds_the_feature_and_compiles_its_handlers(source: Source) -> None:
    found: dict[str, Any] = json.loads(source.run("-c", _LOOK))
    assert Path(found["file"]).is_relative_to(source.folder)
    assert "taskmanager.labels.models" in found["tables"]
    routes = {(method, path.removeprefix("/api/v1")) for method, path in found["routes"]}
    assert routes == ROUTES
    assert found["compiled"] == found["routes"]


def test_each_route_has_its_row_in_the_access_matrix() -> None:
    [rows] = _ROWS.findall(PAGE)
    rules = eval(f"{{{rows}}}", vars(access_rules))  # a page of our own
    assert {tuple(name.split()) for name in rules} == ROUTES


async def test_the_feature_works(source: Source, database_url: str) -> None:
    async with temporary_database(database_url) as url:
        with served(source, url) as api:
            async with person(api, "owner") as owner, person(api, "viewer") as viewer, person(api, "other") as stranger:
                await use_labels(owner, viewer, stranger)
        source.run("-c", _CHECK_SCHEMA, database_url=url)


def test_the_linters_have_nothing_to_say(source: Source) -> None:
    for arguments in (("check", "src", "migrations"), ("format", "--check", "src", "migrations")):
        done = source.run_tool("ruff", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("importer", "imported"),
    [("labels/schemas.py", "taskmanager.main"), ("database/statements.py", "taskmanager.labels.schemas")],
)
def test_the_import_contracts_cover_the_feature(source: Source, importer: str, imported: str) -> None:
    done = source.run_tool("lint-imports", "--no-cache")
    assert done.returncode == 0, done.stdout
    file = source.folder / "src" / "taskmanager" / importer
    text = file.read_text()
    file.write_text(f"{text}\nimport {imported}\n")
    try:
        done = source.run_tool("lint-imports", "--no-cache")
    finally:
        file.write_text(text)
    assert done.returncode == 1, done.stdout
    assert "No ring of packages, so that a new feature has a layer without being named BROKEN" in done.stdout


def test_each_module_beside_the_packages_has_its_layer() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    named = {name for layer in contracts[0]["layers"] for name in layer.split(" | ")}
    modules = {file.stem for file in (ROOT / "src" / "taskmanager").glob("*.py")} - {"__init__"}
    assert modules <= named


async def test_what_a_feature_does_in_the_background_starts_and_ends_with_the_application(settings: Settings) -> None:
    seen: list[object] = []
    begun = asyncio.Event()

    async def work(app: FastAPI) -> None:
        seen.append(app)
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("ended")

    app = create_app(settings, (*FEATURES, Feature(routers=(), background=(work,))))
    async with started(app), asyncio.timeout(10):
        await begun.wait()
        assert seen == [app]
    assert seen == [app, "ended"]
