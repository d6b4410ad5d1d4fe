"""Nothing tells people to install a package by a name that somebody else owns, or could register."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
_INSTALL = re.compile(r"\b(?:pip3? install|uv add|uv pip install|uvx|pipx run|npx|npm (?:install|i|add))\b([^\n`|&;]*)")
_OURS = re.compile(r"(?<![\w./-])(?:task-?manager[\w-]*)(?:\[[\w,]+\])?(?:==\S+)?(?=['\"\s]|$)")


def test_our_packages_are_installed_from_the_checkout() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    found = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".json", ".mjs", ".ts", ".yaml", ""} and path != Path(__file__):
            for command in _INSTALL.finditer(path.read_text(errors="replace")):
                found += [f"{name}: {command[0]}" for _ in _OURS.finditer(command[1])]
    assert found == []


def test_the_rule_finds_what_it_is_about() -> None:
    for text, is_ours in (
        ("pip install 'taskmanager[embedded]'", True),
        ("npm install task-manager-client", True),
        ("pip install task-manager-api==1", True),
        ("pip install '.[embedded]'", False),
        ("npm install ./clients/typescript", False),
        ("pip install ./taskmanager", False),
    ):
        command = _INSTALL.search(text)
        assert command is not None
        assert bool(_OURS.search(command[1])) is is_ours, text
