"""Printed commands: each word comes back from the shell as it was, and none is taken for an option."""

import os
import shlex
from pathlib import Path
from types import SimpleNamespace

import pytest

from storyloom import shell
from storyloom.shell import command_line, path_word


@pytest.mark.skipif(os.name == "nt", reason="another shell")
@pytest.mark.parametrize("word", ["my run", "-r x", "$HOME", "it's", "~", "a;b", "häschen", "*", "\\", "", "a\nb"])
def test_a_shell_reads_the_words_that_were_meant(word):
    assert shlex.split(command_line(["storyloom", "tell", word])) == ["storyloom", "tell", word]


@pytest.mark.parametrize("path", ["-r x", "--resume", "-", Path("-a/b")])
def test_a_path_is_never_an_option_and_still_the_same_place(path):
    """`storyloom report '-r x'`, as it was printed, ended in: no such option."""
    assert not path_word(path).startswith("-")
    assert Path(path_word(path)) == Path(path)


@pytest.mark.parametrize("path", ["r", "a/-r", "/-r", "../-r"])
def test_other_paths_stay_as_they_are(path):
    assert path_word(path) == path_word(Path(path)) == path


def test_windows_has_other_quotes(monkeypatch):
    """Its shells do not know the single quotes that were printed."""
    monkeypatch.setattr(shell, "os", SimpleNamespace(name="nt", fspath=os.fspath))
    assert command_line(["storyloom", "tell", "--model", r"C:\my run"]) == r'storyloom tell --model "C:\my run"'
