"""Whom a comment mentions: `@name` in what a reader takes for the author's own words.

No mention is in code, in a quoted line, in an address of the web or of e-mail, or in the name of a package. Code is
recognised by CommonMark's rules (0.31, sections 4.4, 4.5, 5.2 and 6.1), line by line, in time that grows with the
length of the text whatever it is.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

# User names are ASCII. Letters of the same script, with whatever marks, make another word of a name; those of another
# script, which is often written without spaces, do not.
_LATIN: Final = (
    "A-Za-z0-9_\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af\u0300-\u036f\u1d00-\u1dbf\u1e00-\u1eff\u2c60-\u2c7f"
    "\ua722-\ua787\uab30-\uab6f"
)
# Behind an ASCII character of an address no name begins; a name before `/` and a word is the scope of a package.
_MENTION: Final = re.compile(rf"(?<![{_LATIN}@./+-])@([A-Za-z0-9_]{{3,50}})(?![{_LATIN}@]|/[a-z0-9~])")
# Behind a letter of another script it may still be an address: `почта@example.com`.
_DOMAIN: Final = re.compile(r"(?:-[A-Za-z0-9-]*)?\.[A-Za-z0-9]")
_URL: Final = re.compile(r"://[!#-;=?-_a-~]*")
_BACKTICKS: Final = re.compile(r"`+")
_FENCE: Final = re.compile(r"(`{3,})[^`]*$|(~{3,})")
_HEADING: Final = re.compile(r"#{1,6}(?![^ ])")
_LIST_ITEM: Final = re.compile(r"(?:[-+*]|[0-9]{1,9}[.)])(?= |$)")
_SPACES: Final = re.compile(" *")
_TAB: Final = 4
_CODE_INDENT: Final = 4


def mentioned_names(body: str) -> list[str]:
    """Return the user names that a text mentions as @name, in lower case."""
    if "@" not in body:
        return []
    return sorted({name.lower() for text in _Blocks().prose(body) for name in _names(text)})


def _names(text: str) -> Iterator[str]:
    for found in _MENTION.finditer(_URL.sub(" ", _without_code_spans(text))):
        before = found.string[found.start() - 1 : found.start()]
        if not (before.isalnum() and _DOMAIN.match(found.string, found.end())):
            yield found[1]


def _without_code_spans(text: str) -> str:
    """Return the text of a block without what stands between two strings of as many backticks."""
    runs = list(_BACKTICKS.finditer(text))
    places = defaultdict[int, list[int]](list)
    for number, run in enumerate(runs):
        places[len(run[0])].append(number)
    kept, done, number = [], 0, 0
    while number < len(runs):
        run = runs[number]
        # A backslash takes the first backtick away from the string that opens, but not from one that closes.
        same = places[len(run[0]) - _is_escaped(text, run.start())]
        place = bisect_right(same, number)
        if place < len(same):
            kept.append(text[done : run.start()])
            number = same[place]
            done = runs[number].end()
        number += 1
    return " ".join([*kept, text[done:]]) if kept else text


def _is_escaped(text: str, position: int) -> bool:
    before = position
    while before and text[before - 1] == "\\":
        before -= 1
    return (position - before) % 2 == 1


class _Blocks:
    """Where in a text of CommonMark the blocks of prose are, and where code and quotes."""

    def __init__(self) -> None:
        self._paragraph: list[str] = []
        # How far the contents of the list items around the line are indented, from the outermost on.
        self._items: list[int] = []
        # The character, the length and the indentation of the fence that is open.
        self._fence: tuple[str, int, int] | None = None

    def prose(self, body: str) -> Iterator[str]:
        """Yield the text of each block that is neither code nor a quote."""
        for line in body.split("\n"):
            yield from self._read(line.expandtabs(_TAB) if "\t" in line else line)
        yield from self._end_paragraph()

    def _end_paragraph(self) -> Iterator[str]:
        if self._paragraph:
            yield "\n".join(self._paragraph)
            self._paragraph = []

    def _read(self, line: str) -> Iterator[str]:
        place = _indentation(line, 0)
        if place == len(line):
            yield from self._end_paragraph()
        elif not self._is_fenced(line, place):
            yield from self._read_block(line, place)

    def _is_fenced(self, line: str, place: int) -> bool:
        if self._fence is None:
            return False
        character, length, indentation = self._fence
        if place < indentation:  # the list item has ended, and the fence with it
            self._fence = None
            return False
        rest = line[place:].rstrip(" ")
        if place - indentation < _CODE_INDENT and len(rest) >= length and not rest.strip(character):
            self._fence = None
        return True

    def _read_block(self, line: str, place: int) -> Iterator[str]:
        # What opens list items is read in a loop, each item with the rest of the line as its first.
        break_at = _break_at(line)
        while True:
            around = bisect_right(self._items, place)
            start = self._items[around - 1] if around else 0
            if place - start >= _CODE_INDENT:
                if self._paragraph:  # code does not interrupt a paragraph
                    self._paragraph.append(line[place:])
                return
            opens_item = _LIST_ITEM.match(line, place)
            is_break = place >= break_at
            if self._paragraph and not (is_break or opens_item or _starts_block(line, place)):
                self._paragraph.append(line[place:])  # whatever its indentation
                return
            yield from self._end_paragraph()
            del self._items[around:]
            if is_break:
                return
            if opens_item is None:
                self._begin_block(line, place, start)
                if _HEADING.match(line, place):
                    yield from self._end_paragraph()
                return
            content = _indentation(line, opens_item.end())
            is_wide = content == len(line) or content - opens_item.end() > _CODE_INDENT
            self._items.append(opens_item.end() + 1 if is_wide else content)
            if content == len(line):
                return
            place = content

    def _begin_block(self, line: str, place: int, start: int) -> None:
        if (fence := _FENCE.match(line, place)) is not None:
            opening = fence[1] or fence[2]
            self._fence = opening[0], len(opening), start
        elif line[place] != ">":
            self._paragraph.append(line[place:])


def _starts_block(line: str, place: int) -> bool:
    return line[place] == ">" or _FENCE.match(line, place) is not None or _HEADING.match(line, place) is not None


def _break_at(line: str) -> int:
    """Return from where on a line has only one of the characters of breaks and underlines, and spaces."""
    text = line.rstrip(" ")
    return len(text.rstrip(f"{text[-1]} ")) if text[-1] in "-*_=" else len(line)


def _indentation(line: str, start: int) -> int:
    """Return where the first character that is not a space stands, from `start` on."""
    spaces = _SPACES.match(line, start)
    return start if spaces is None else spaces.end()
