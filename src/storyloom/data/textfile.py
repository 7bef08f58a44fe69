"""Stories in plain text, and what a story is: the one form in which every source hands it on.

Legend: a mark is a line that holds `<|endoftext|>` and nothing else. It separates the stories of a text file; a story
may hold such a line too, which stands in a file with a backslash before it.
"""

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterable, Iterator
from pathlib import Path

from storyloom.errors import DataError

SEPARATOR = "<|endoftext|>"
BYTE_ORDER_MARK = "\ufeff"

_MARK = re.compile(r"(\\*)\s*" + re.escape(SEPARATOR) + r"\s*")


def normalise(text: str) -> str:
    r"""A story as all sources give it: no byte order marks, line ends "\\n", no white space around it.

    >>> normalise("\ufeff one\r\ntwo \n")
    'one\ntwo'
    """
    text = text.replace(BYTE_ORDER_MARK, "")
    if "\r" in text:
        text = re.sub(r"\r+\n", "\n", text)
    return text.strip()


def join_stories(stories: Iterable[str]) -> str:
    r"""Normalised stories as the content of a text file, as `TextFile` reads it.

    A line of a story that would be read as a mark gets a backslash before it, and so does one that stands there with
    backslashes already: taking one away again on reading gives every story back.

    >>> print(join_stories(["one", "two\n<|endoftext|>\nthree"]), end="")
    one
    <|endoftext|>
    two
    \<|endoftext|>
    three
    <|endoftext|>
    """
    return "".join(f"{_escaped(story)}\n{SEPARATOR}\n" for story in stories)


class TextFile:
    """Stories in a UTF-8 text file, separated by marks; by blank lines where the file has no mark.

    Args:
        path: the file. Where it has no mark, it is read once more to know so.

    Raises:
        DataError: it is not UTF-8, or has `<|endoftext|>` only at the end or the beginning of lines with other text:
            whoever joined it meant stories to end there, and by its blank lines they would be others.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path

    def __iter__(self) -> Iterator[str]:
        ends = _is_mark if self._has_marks() else _is_blank
        pending: list[bytes] = []
        number = 0
        with self._path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if ends(raw):
                    yield from self._story(pending, number)
                    pending = []
                else:
                    pending.append(raw)
        yield from self._story(pending, number + 1)

    def _has_marks(self) -> bool:
        beside = 0  # the first line that begins or ends with the separator, and holds more
        with self._path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if _is_mark(raw):
                    return True
                if not beside and _begins_or_ends_with_mark(raw.strip()):
                    beside = number
        if beside:
            raise DataError(
                f"{self._path}, line {beside} has {SEPARATOR} beside other text, and no line holds it alone: put it on "
                "a line of its own wherever a story ends"
            )
        return False

    def _story(self, lines: list[bytes], end: int) -> Iterator[str]:
        """The story in some lines, if there is one; `end` is the number of the line behind them."""
        content = b"".join(lines)
        try:
            story = normalise(content.decode("utf-8"))
        except UnicodeDecodeError as error:
            number = end - len(lines) + content.count(b"\n", 0, error.start)
            encoding = "utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "latin1"
            raise DataError(
                f"{self._path} is not UTF-8: byte 0x{content[error.start]:02x} on line {number}; "
                f"convert it, for example with `iconv -f {encoding} -t utf-8`"
            ) from None
        if story:
            yield _unescaped(story)


def _is_mark(raw: bytes) -> bool:
    if SEPARATOR.encode() not in raw:  # nearly every line, told without decoding it
        return False
    line = raw.decode("utf-8", errors="replace").replace(BYTE_ORDER_MARK, "")
    found = _MARK.fullmatch(line)
    return found is not None and not found[1]


def _begins_or_ends_with_mark(line: bytes) -> bool:
    mark = SEPARATOR.encode()
    return line.startswith(mark) or line.endswith(mark)


def _is_blank(raw: bytes) -> bool:
    return not raw.strip() or not raw.decode("utf-8", errors="replace").replace(BYTE_ORDER_MARK, "").strip()


def _escaped(story: str) -> str:
    if SEPARATOR not in story:
        return story
    return "\n".join("\\" + line if _MARK.fullmatch(line) else line for line in story.split("\n"))


def _unescaped(story: str) -> str:
    if SEPARATOR not in story:
        return story
    lines = story.split("\n")
    return "\n".join(line[1:] if (found := _MARK.fullmatch(line)) and found[1] else line for line in lines).strip()
