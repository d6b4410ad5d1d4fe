"""The recipes of docs/testing-your-client.md, as they are written there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PAGE = ROOT / "docs" / "testing-your-client.md"
_RECIPE = re.compile(r"<!-- test: (.+?) -->\n```\w+\n(.*?)```\n", re.DOTALL)


def recipe(name: str) -> str:
    """Return the code below the mark of this name."""
    recipes: dict[str, str] = dict(_RECIPE.findall(_PAGE.read_text()))
    return recipes[name]
