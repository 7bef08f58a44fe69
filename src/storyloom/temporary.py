"""Names for what is unfinished: random, so that none is taken twice, and known to be ours.

A temporary neighbor of NAME is `.NAME.TOKEN.KIND`. Half of the token is random, the other half a checksum of the rest:
a name proves that it is ours. What a killed process left is removed by the next writer, and nothing that a user made is
ever taken for it. No error message shows such a name.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOCK_ENDING = ".storyloom-lock"
LONGEST_STEM = 200  # bytes of NAME in a temporary name; file systems take 255 in all

_TEMPORARY = re.compile(r"\.(?P<stem>.+)\.(?P<random>[0-9a-f]{8})(?P<check>[0-9a-f]{8})\.(tmp|partial|new|old)", re.S)


def temporary_path(path: Path, kind: str) -> Path:
    """A new name beside `path` for something unfinished.

    Args:
        path: what it is to become, or has been.
        kind: `tmp` (a file), `partial` (a folder that is built), `new` or `old` (a folder that is replaced).
    """
    random, stem = os.urandom(4).hex(), stem_of(path)
    return path.with_name(f".{stem}.{random}{_check(stem, random)}.{kind}")


def is_temporary(name: str) -> bool:
    """Whether a file's or folder's name is one that `temporary_path` made.

    >>> is_temporary(temporary_path(Path("a.html"), "tmp").name), is_temporary(".a.html.0123456789abcdef.tmp")
    (True, False)
    """
    found = _TEMPORARY.fullmatch(name)
    return found is not None and found["check"] == _check(found["stem"], found["random"])


def stem_of(path: Path) -> str:
    """A path's name as temporary names hold it: as it is, or its checksum if it is too long."""
    name = os.fsencode(path.name)
    return path.name if len(name) <= LONGEST_STEM else hashlib.sha256(name).hexdigest()


def _check(stem: str, random: str) -> str:
    return hashlib.sha256(b"storyloom\0" + os.fsencode(stem) + b"\0" + random.encode()).hexdigest()[:8]


def temporaries_of(path: Path, kind: str) -> list[Path]:
    """What carries a temporary name of this kind that was made for `path`, in order."""
    found, beginning = [], f".{stem_of(path)}."
    with suppress(FileNotFoundError, NotADirectoryError):
        found = [name for name in os.listdir(path.parent) if name.startswith(beginning) and name.endswith(f".{kind}")]
    exact = len(beginning) + 16 + 1 + len(kind)  # else it is another file's, whose name begins with this one's
    return [path.with_name(name) for name in sorted(found) if len(name) == exact and is_temporary(name)]


@contextmanager
def errors_name(path: Path) -> Iterator[None]:
    """An `OSError` of the block names `path`, where it names nothing (a full disk) or a temporary name of ours."""
    try:
        yield
    except OSError as error:
        inside = isinstance(error.filename, str) and any(map(_is_internal, Path(error.filename).parts))
        if error.errno and (error.filename is None or inside):
            error.filename, error.filename2 = str(path), None
        raise


def _is_internal(name: str) -> bool:
    return is_temporary(name) or name.endswith(LOCK_ENDING)
