"""What a page of documentation shows is run: commands with less time and smaller models, Python as it stands."""

import doctest
import importlib
import re
import runpy
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from storyloom.cli import main

PROJECT = Path(__file__).parents[1]
NEEDS_A_NETWORK = ("tinystories", "gpt2")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def blocks(page: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page: language and text."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def lay_out(folder: Path) -> None:
    """The files that the pages speak of."""
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    stories = [f"In year {i} a cat met {i * i} dogs and sat down." for i in range(97)]
    text = "\n<|endoftext|>\n".join(stories)
    (folder / "more").mkdir()
    for name in ("my.txt", "other.txt", "a.txt", "more/d.txt"):
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "b.jsonl").write_text('{"story": "a bee"}\n', encoding="utf-8")
    parquet.write_table(pyarrow.table({"story": ["two bees"]}), folder / "c.parquet")


def measure_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `--dry-run` measure a few updates of the tiny model, not seconds of them."""
    dry_run = importlib.import_module("storyloom.training.dry_run")  # the package gives its function this name
    monkeypatch.setattr(dry_run, "MEASURED_SECONDS", 0.05)


def run_commands(block: str, tiny_file: Path, capsys: pytest.CaptureFixture[str]) -> int:
    """Run a block's commands, in this process, in the working directory; how many were run.

    A preset's training is made small: its preset and its minutes give way to a tiny configuration. What needs a network
    is left out.
    """
    lines = [line for line in block.splitlines() if line.startswith(("storyloom ", "python "))]
    lines = [line for line in lines if not any(word in line for word in NEEDS_A_NETWORK)]
    for line in lines:
        command, _, target = shrunk(line, tiny_file).partition(" > ")
        status = _status(shlex.split(command))
        shown = capsys.readouterr()
        assert status == 0, f"{line}: {shown.err}"
        assert shown.out
        if target:
            Path(target).write_text(shown.out, encoding="utf-8")
    return len(lines)


def shrunk(line: str, tiny_file: Path) -> str:
    """A command that is done in a second or two."""
    line = line.replace("--data storybook", "--data storybook --set data.limit_mb=0.05")
    if "--minutes" in line:
        line = re.sub(r" --(preset|config) \S+", "", line)
    return re.sub(r"--minutes \S+", f"--config {tiny_file}", line)


@contextmanager
def ctrl_c_afterwards() -> Iterator[None]:
    """A program that ends with `main()` ignores Ctrl-C as it ends."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _status(words: list[str]) -> object:
    """The exit status of `storyloom ...` or `python FILE ...`."""
    program, *arguments = words
    try:
        if program == "storyloom":
            return main(arguments)
        with patch.object(sys, "argv", arguments), ctrl_c_afterwards():
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as stop:
        return stop.code
    return 0


def run_examples(block: str, names: dict[str, Any], where: str) -> None:
    """Run a block's `>>>` examples, whose answers must be those that it shows; `names` goes from block to block."""
    test = doctest.DocTestParser().get_doctest(block, names, where, where, 0)
    complaints: list[str] = []
    test.globs = names  # the parser's copy would be forgotten
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=complaints.append, clear_globs=False)
    assert not complaints, "".join(complaints)
