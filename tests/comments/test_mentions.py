"""Whom a comment mentions: in every script, and never in code, quotes, addresses and names of packages."""

import time

import pytest

from taskmanager.comments.mentions import mentioned_names

PROSE = {
    # Other scripts end or precede a name.
    "@bob\u3055\u3093": ["bob"],
    "\u4ea4\u7ed9@bob\u5904\u7406": ["bob"],
    "\u043f\u0440\u0438\u0432\u0435\u0442@bob": ["bob"],
    "\u043f\u0440\u0438\u0432\u0435\u0442@bob-\u044d\u0442\u043e": ["bob"],
    "\u043f\u0440\u0438\u0432\u0435\u0442@bob. \u0414\u0430": ["bob"],
    "\u043f\u0440\u0438\u0432\u0435\u0442@bob.\u0414\u0430": ["bob"],
    "@bob\u3067\u3059\u3002@carol\u3082": ["bob", "carol"],
    "\u0661\u0662@bob\u0663": ["bob"],
    "\uff08@bob\uff09\u3001@carol": ["bob", "carol"],
    "\U0001f600@bob\U0001f600": ["bob"],
    # Letters of the same script make another word.
    "@jos\u00e9": [],
    "ren\u00e9@bob": [],
    "@bob\u0301": [],
    "a@bob": [],
    "1@bob": [],
    "_@bob": [],
    ".@bob": [],
    "-@bob": [],
    "(@bob)": ["bob"],
    "**@bob**": ["bob"],
    "@Bob's": ["bob"],
    "@alice/@bob": ["alice"],
    "- [ ] @bob": ["bob"],
    "[@bob](https://a.example/@carol)": ["bob"],
    # Addresses and packages.
    "mail bob@example.com": [],
    "\u043f\u043e\u0447\u0442\u0430@example.com": [],
    "\u043f\u043e\u0447\u0442\u0430@mail-host.example": [],
    "@bob@social.example": [],
    "npm i @types/node": [],
    "npm i @babel/core, says @bob": ["bob"],
    "see https://social.example/@bob": [],
    "https://a.example/?to=@bob&x=@carol": [],
    "<https://a.example/@bob>@carol": ["carol"],
    "https://a.example @bob": ["bob"],
    # Quotes.
    "> @bob": [],
    "   > @bob": [],
    ">@bob": [],
    "> @bob\n@carol": ["carol"],
    "@carol\n> @bob": ["carol"],
    "- > @bob": [],
    "a > @bob": ["bob"],
}
CODE = {
    "`@property`": [],
    "`a @bob": ["bob"],
    "`a` @bob `c`": ["bob"],
    "`a`@bob": ["bob"],
    "`` a ` @bob ``": [],
    "``` @bob ``` @carol": ["carol"],
    "`a\n@bob`": [],
    "`a\n\n@bob`": ["bob"],
    "# `a\n@bob`": ["bob"],
    "- `a\n- @bob`": ["bob"],
    "\\`@bob`": ["bob"],
    "\\\\`@bob`": [],
    "\\``@bob`": [],
    "`a\\`@bob`": ["bob"],
    "```\n@bob\n```\n@carol": ["carol"],
    "```python\n@bob\n\n@dave\n``\n```` \n@carol": ["carol"],
    "~~~py `x`\n@bob\n```\n~~~\n@carol": ["carol"],
    "```\n@bob": [],
    "  ```\n@bob\n   ```\n@carol": ["carol"],
    "```\n@bob\n    ```\n@carol": [],
    "``` a`b\n@bob": ["bob"],
    "a\n```\n@bob\n```\n@carol": ["carol"],
    "```\n> @bob\n```": [],
    "    @bob": [],
    "\t@bob": [],
    "  \t@bob": [],
    "a\n    @bob": ["bob"],
    "a\n\n    @bob\n\n    @dave\n@carol": ["carol"],
    "# a\n    @bob": [],
    "a\n===\n    @bob": [],
    "***\n    @bob": [],
    "   @bob": ["bob"],
}
LISTS = {
    "- @bob": ["bob"],
    "1) @bob": ["bob"],
    "* * *\n@bob": ["bob"],
    "- a\n\n  @bob\n\n      @carol": ["bob"],
    "- a\n\n    @bob": ["bob"],
    "- a\n    - @bob": ["bob"],
    "- a\n- b\n\n      @bob": [],
    "-\n  @bob": ["bob"],
    "-     @bob": [],
    "1. a\n\n   ```\n   @bob\n   ```\n   @carol": ["carol"],
    "- ```\n  @bob\n@carol": ["carol"],
    "- ```\n  @bob\n  ```\n  @carol": ["carol"],
    "- a\n```\n@bob\n```\n@carol": ["carol"],
    "- a\n\n\t@bob": ["bob"],
    "    - @bob": [],
    "2026. @bob": ["bob"],
}


@pytest.mark.parametrize(("body", "names"), [*PROSE.items(), *CODE.items(), *LISTS.items()], ids=ascii)
def test_the_names_in_a_text(body: str, names: list[str]) -> None:
    assert mentioned_names(body) == names


HOSTILE = {
    "backticks": "`" * 10_000,
    "strings of backticks of all lengths": " ".join("`" * n for n in range(1, 140)),
    "pairs of backticks": "` `` " * 2_000,
    "escaped backticks": "\\`" * 5_000,
    "backslashes": "\\" * 9_999 + "`",
    "list items in one line": "- " * 5_000,
    "numbered items in one line": "1. " * 3_300,
    "lines in many items": "- " * 2_500 + "x\n" + "a\n" * 2_400,
    "breaks that are none": ("- " * 20 + "x\n") * 240,
    "fences": "```\n" * 2_500,
    "fences that are none": "```" + "x" * 9_000 + "`",
    "names": "@" + "a" * 9_999,
    "signs": "@" * 10_000,
    "names that may be addresses": "\u044f@bob-" * 1_600,
    "addresses": "://" * 3_300,
    "schemes": "a" * 9_990 + "://",
    "tabs": "\t" * 9_990,
    "spaces": " " * 9_990,
    "quotes": "> " * 5_000,
    "headings": "#" * 9_990,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_takes_no_longer_than_its_length_says(name: str) -> None:
    def seconds(times: int) -> float:
        body = (HOSTILE[name] + "\n@bob") * times
        started = time.process_time()
        mentioned_names(body)
        return time.process_time() - started

    assert min(seconds(1) for _ in range(3)) < 0.05
    # Ten times as long it takes ten times as long, not a hundred times.
    assert min(seconds(10) for _ in range(2)) < 0.5
