"""Where stories come from: files, folders, the hub and the built-in storybook, all behind one small protocol.

Knows nothing of tokens. A source streams: no more than a few stories are in memory at a time.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Protocol

from storyloom import storybook
from storyloom.data.hub import SHORT_NAMES, is_hub_spec, open_hub
from storyloom.data.tables import JsonLines, Parquet
from storyloom.data.textfile import SEPARATOR, TextFile
from storyloom.errors import DataError, nearest
from storyloom.files import MANIFEST
from storyloom.temporary import is_temporary

DEFAULT_COLUMN = "text"
STORYBOOK_SEED = 2023
# Files by which a data folder is known, and a run, even if one is missing.
MARKS_OF_OURS = ({"train-00000.bin"}, {"val-00000.bin"}, {MANIFEST, "tokenizer.json"}, {"config.toml", "checkpoints"})
STORYBOOK_MB = 16.0  # the storybook has no end; without a limit this much of it is told


class Source(Protocol):
    """Normalised stories that can be iterated any number of times, always the same ones."""

    name: str

    def __iter__(self) -> Iterator[str]: ...


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


class Folder:
    """The stories of all files below a folder, in the order of their paths.

    Files of unknown endings are passed over, and so are linked folders, which may lead in a circle, and data folders
    and runs, whose stories are those of their sources once more, or a model's.

    Args:
        path: the folder.
        column: for those of its files that have columns.

    Raises:
        DataError: no file below it has a known ending. `OSError`: a folder below it cannot be read.
    """

    def __init__(self, path: Path, column: str) -> None:
        self.name = path.name
        known = list(_files_of_stories(path))
        if not known:
            raise DataError(
                f"no file below the folder {path} ends in {', '.join(FILE_KINDS)} (data folders and runs are passed "
                "over): name another source"
            )
        known.sort(key=lambda file: file.relative_to(path).as_posix())
        self._files = [open_path(file, column) for file in known]

    def __iter__(self) -> Iterator[str]:
        for file in self._files:
            yield from file


def _files_of_stories(path: Path) -> Iterator[Path]:
    """The files below a folder that `Folder` reads, in no order."""
    for folder, folders, names in os.walk(path, onerror=_raise):
        folders[:] = [name for name in folders if not is_temporary(name)]  # what another process is preparing
        if {"config.toml", "tokenizer.json"} <= set(names) and "checkpoints" in folders:  # a run
            folders.clear()
        elif not {MANIFEST, "val-00000.bin"} <= set(names):
            yield from (Path(folder, name) for name in names if Path(name).suffix.lower() in FILE_KINDS)


def limited(stories: Iterable[str], limit_mb: float) -> Iterator[str]:
    """The first stories, up to a number of megabytes (1e6 UTF-8 bytes); the one that crosses the limit is the last."""
    seen = 0
    for story in stories:
        yield story
        seen += len(story.encode("utf-8"))
        if seen >= limit_mb * 1e6:
            return


FILE_KINDS: dict[str, Callable[[Path, str], Source]] = {
    ".txt": lambda path, column: TextFile(path),
    ".jsonl": JsonLines,
    ".parquet": Parquet,
}


def open_source(
    spec: str, *, column: str = DEFAULT_COLUMN, limit_mb: float | None = None, split: str = "train"
) -> Source:
    """The source that a user names.

    Args:
        spec: `storybook`, `tinystories`, `hub:OWNER/NAME[:CONFIG]`, or the path of a file or a folder.
        column: the field or column that holds the stories, for the kinds of files that have any.
        limit_mb: how much of the storybook, in megabytes; 16 by default.
        split: which split of a data set of the hub.

    Raises:
        DataError: nothing is there, or it is not a kind of file that can be read.
    """
    if spec == Storybook.name:
        return Storybook(limit_mb or STORYBOOK_MB)
    if is_hub_spec(spec):
        return open_hub(spec, column, split)
    if not spec or not Path(spec).exists():  # `Path("")` is the working directory, which nobody named
        known = [Storybook.name, *SHORT_NAMES]
        raise DataError(
            f"no such file: {spec or repr(spec)}; {nearest(spec, known)}, hub:OWNER/NAME, a folder, or a path ending "
            f"in {', '.join(FILE_KINDS)}"
        )
    return open_path(Path(spec), column)


def is_source(spec: str) -> bool:
    """Whether a word names a source of stories: the storybook, a data set of the hub, a file, or a folder of files.

    A folder that has the files of a data folder or of a run is none, even if some are missing: it is to be named as
    what it is. Raises `OSError` if a folder cannot be read.
    """
    if spec == Storybook.name or is_hub_spec(spec):
        return True
    path = Path(spec)
    if not spec or not path.is_dir():
        return bool(spec) and path.is_file()
    names = set(os.listdir(path))
    is_ours = any(mark <= names for mark in MARKS_OF_OURS)
    return not is_ours and next(_files_of_stories(path), None) is not None


def open_path(path: Path, column: str = DEFAULT_COLUMN) -> Source:
    """The stories of a file, read by its ending, or of a folder. Raises `DataError` as `open_source` does."""
    if path.is_file():
        if path.suffix.lower() not in FILE_KINDS:
            raise DataError(
                f"cannot read {path}: its ending is {path.suffix or 'missing'}; {nearest(path.suffix, FILE_KINDS)}"
            )
        return FILE_KINDS[path.suffix.lower()](path, column)
    if path.is_dir():
        return Folder(path, column)
    raise DataError(f"no such file: {path}; name a folder, or a path ending in {', '.join(FILE_KINDS)}")


def read_stories(path: Path) -> list[str]:
    """All stories of a file or folder. Raises `DataError` when it is missing, cannot be read, or holds none."""
    stories = list(open_path(path))
    if not stories:
        raise DataError(f"{path} holds no story: it is empty, or has only white space and {SEPARATOR} lines")
    return stories


def text_of(value: object, what: str, advice: str) -> str:
    """A path or a word as text. Raises `DataError` for anything else, bytes and a NUL among them."""
    text = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(text, str):
        raise DataError(f"{what} is {value!r:.60}, of type {type(value).__name__}: {advice}")
    if "\0" in text:
        raise DataError(f"{what} is {text!r:.60}: no path has a character NUL; {advice}")
    return text


def _raise(error: OSError) -> None:
    """What `os.walk` would pass over in silence."""
    raise error
