"""Commands that are printed for a user to type: a shell and our own command line read each word as it is meant."""

import os
import shlex
import subprocess
from collections.abc import Iterable


def command_line(words: Iterable[str | os.PathLike[str]]) -> str:
    """Words as one line for the shell of this system.

    >>> command_line(["storyloom", "report", path_word("-run")])
    'storyloom report ./-run'
    """
    texts = [os.fspath(word) for word in words]
    return subprocess.list2cmdline(texts) if os.name == "nt" else shlex.join(texts)


def path_word(path: str | os.PathLike[str]) -> str:
    """A path as a word of a command: one that begins with a dash would be read as an option.

    >>> path_word("-r x"), path_word("runs/-r"), path_word("--help")
    ('./-r x', 'runs/-r', './--help')
    """
    text = os.fspath(path)
    return f"./{text}" if text.startswith("-") else text
