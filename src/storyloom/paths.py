"""Paths as users give them."""

import os
import reprlib
from pathlib import Path
from typing import Any

from storyloom.errors import StoryloomError


def named_path(name: str, value: Any, error: type[StoryloomError]) -> Path:
    """A path from a string or a path object; the empty string, which pathlib takes for the working directory, is none.

    Args:
        name: the argument's, for the message.
        value: what was given.
        error: what to raise.

    >>> named_path("run", "R", StoryloomError).name
    'R'
    """
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(path, str):
        raise error(f"{name} = {reprlib.repr(value)} must be a path: a string or a pathlib.Path")
    if "\0" in path:
        raise error(f"{name} = {reprlib.repr(value)} has a character NUL, which no path has")
    if not path:
        raise error(f'{name} = "" is empty: name a path, for the working directory "."')
    return Path(path)
