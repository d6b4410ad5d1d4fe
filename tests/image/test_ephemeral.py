"""The recipe for Testcontainers: an image with the embedded PostgreSQL serves an ephemeral instance."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.image.test_image import DOCKER, docker
from tests.support.recipes import ROOT, recipe

_BUILD_SECONDS = 900


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    """Build the image that the recipe names, and remove it afterwards."""
    name = "taskmanager-testing"
    flags = os.environ.get("IMAGE_BUILD_FLAGS", "")
    try:
        there = docker("version")
    except FileNotFoundError:
        pytest.skip(f"{DOCKER[0]} is not installed on this machine")
    if there.returncode != 0:
        pytest.skip(f"Docker does not answer: {there.stderr.strip()[-200:]}")
    command = ["make", "image", f"IMAGE={name}", f"IMAGE_BUILD_FLAGS={flags} --build-arg SYNC_FLAGS='--extra embedded'"]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False)
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr
    yield name
    docker("rmi", name)


def test_the_recipe_for_testcontainers(image: str) -> None:
    code = recipe("testcontainers")
    assert f'"{image}"' in code
    exec(compile(code, "docs/testing-your-client.md", "exec"), {})
