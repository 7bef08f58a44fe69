"""Where stories come from: files and the built-in storybook, each an iterable that can be read again from the start.

Knows nothing of tokens. A source streams: no more than one story is in memory at a time.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Protocol

from storyloom.data import storybook
from storyloom.errors import DataError, nearest

SEPARATOR = "<|endoftext|>"
BYTE_ORDER_MARK = "\ufeff"
STORYBOOK_SEED = 2023
STORYBOOK_MB = 16.0  # the storybook has no end; without a limit this much of it is told


class Source(Protocol):
    """Stories that can be iterated any number of times, always the same ones."""

    name: str

    def __iter__(self) -> Iterator[str]: ...


class TextFile:
    """Stories in a UTF-8 text file, separated by lines that hold `<|endoftext|>` and nothing else.

    White space around a story is no part of it, nor is a byte order mark anywhere (files joined to one have some in the
    middle); line ends become "\\n".
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path

    def __iter__(self) -> Iterator[str]:
        lines: list[str] = []
        with self._path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                line = self._decode(raw, number)
                if line.strip() == SEPARATOR:
                    yield from _as_story(lines)
                    lines = []
                else:
                    lines.append(line)
        yield from _as_story(lines)

    def _decode(self, raw: bytes, number: int) -> str:
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self._path} is not UTF-8: byte 0x{error.object[error.start]:02x} on line {number}; "
                "convert it, for example with `iconv -f latin1 -t utf-8`"
            ) from None
        return line.replace(BYTE_ORDER_MARK, "").rstrip("\r\n")


class Storybook:
    """The first stories of the built-in grammar, whose probabilities are known exactly.

    Args:
        limit_mb: how much of it, in megabytes, as it has no end.
    """

    name = "storybook"

    def __init__(self, limit_mb: float) -> None:
        self._limit_mb = limit_mb

    def __iter__(self) -> Iterator[str]:
        return limited((storybook.tell(STORYBOOK_SEED, index).text for index in count()), self._limit_mb)


def limited(stories: Iterable[str], limit_mb: float) -> Iterator[str]:
    """The first stories, up to a number of megabytes (1e6 UTF-8 bytes); the one that crosses the limit is the last."""
    seen = 0
    for story in stories:
        yield story
        seen += len(story.encode("utf-8"))
        if seen >= limit_mb * 1e6:
            return


FILE_KINDS: dict[str, Callable[[Path], Source]] = {".txt": TextFile}


def open_source(spec: str, limit_mb: float | None = None) -> Source:
    """The source that a user names: `storybook` or the path of a file.

    Args:
        spec: what the user wrote.
        limit_mb: how much of the storybook, in megabytes; 16 by default.

    Raises:
        DataError: nothing is there, or it is not a kind of file that can be read.
    """
    return Storybook(limit_mb or STORYBOOK_MB) if spec == Storybook.name else open_file(Path(spec))


def open_file(path: Path) -> Source:
    """The stories of a file, read by its ending. Raises `DataError` as `open_source` does."""
    if path.is_file():
        if path.suffix.lower() not in FILE_KINDS:
            raise DataError(
                f"cannot read {path}: its ending is {path.suffix or 'missing'}; {nearest(path.suffix, FILE_KINDS)}"
            )
        return FILE_KINDS[path.suffix.lower()](path)
    if path.is_dir():
        raise DataError(f"{path} is a folder: name a file with the ending {', '.join(FILE_KINDS)}")
    raise DataError(f"no such file: {path}; {nearest(str(path), [Storybook.name])}, or a path ending in .txt")


def read_stories(path: Path) -> list[str]:
    """All stories of a text file. Raises `DataError` when it is missing, not UTF-8, or holds none."""
    stories = list(open_file(path))
    if not stories:
        raise DataError(f"{path} holds no story: it is empty, or has only white space and {SEPARATOR} lines")
    return stories


def join_stories(stories: Iterable[str]) -> str:
    """Stories as the content of a text file, as `TextFile` reads it."""
    return "".join(f"{story}\n{SEPARATOR}\n" for story in stories)


def _as_story(lines: list[str]) -> Iterator[str]:
    story = "\n".join(lines).strip()
    if story:
        yield story
