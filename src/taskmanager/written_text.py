"""How text is written: one spelling of what reads the same, and what no reader would see."""

import re
from typing import Final
from unicodedata import normalize

# The property White_Space of Unicode; str.strip() alone would also take the control characters U+001C to U+001F.
_WHITE_SPACE: Final = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
)
_OF_NO_LINE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_OF_NO_TEXT: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# The property Default_Ignorable_Code_Point of Unicode, white space, and what is drawn without ink: the blank of
# Braille, the fillers of Khitan, the annotation marks, the notehead without a head.
_INVISIBLE: Final = re.compile(
    "[\\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U00016fe4\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]*"
)
_LINE_ENDS: Final = re.compile("\r\n?")


def compose(text: str) -> str:
    """Return a text in Unicode's normalisation form C, in which characters that read the same are the same."""
    return text if text.isascii() else normalize("NFC", text)


def trim(text: str) -> str:
    """Return a text without white space around it."""
    return text.strip(_WHITE_SPACE)


def read_line(text: str) -> str:
    """Return a line as it is kept: trimmed, in form C.

    Raises:
        ValueError: It has a control character or a line break, or only characters that nobody sees.
    """
    line = trim(compose(text))
    _refuse(_OF_NO_LINE, line)
    _require_visible(line)
    return line


def read_text(text: str) -> str:
    r"""Return a text of any number of lines as it is kept: in form C, with \n as the end of a line.

    Raises:
        ValueError: It has a control character other than tabs and line ends.
    """
    text = _LINE_ENDS.sub("\n", compose(text)) if "\r" in text else compose(text)
    _refuse(_OF_NO_TEXT, text)
    return text


def read_visible_text(text: str) -> str:
    """Return a text of any number of lines that has to say something, trimmed.

    Raises:
        ValueError: It has a control character other than tabs and line ends, or only characters that nobody sees.
    """
    text = trim(read_text(text))
    _require_visible(text)
    return text


def _refuse(unwanted: re.Pattern[str], text: str) -> None:
    if found := unwanted.search(text):
        raise ValueError(
            f"has the control character U+{ord(found[0]):04X} at position {found.start() + 1}: leave it out"
        )


def _require_visible(text: str) -> None:
    if text and not text.isascii() and _INVISIBLE.fullmatch(text):
        raise ValueError("shows nothing: write at least one character that can be seen")
