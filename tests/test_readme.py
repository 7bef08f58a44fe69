"""The commands that the README shows are run, with less time and smaller models."""

import re
import shlex
from pathlib import Path

import pytest

from storyloom.cli import main

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```\w*\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
COMMANDS = re.findall(r"^storyloom .+$", "".join(BLOCKS), re.MULTILINE)


@pytest.fixture
def place(tmp_path, tiny_file, monkeypatch):
    """A folder with the files that the README speaks of."""
    stories = [f"In year {i} a cat met {i * i} dogs and sat down." for i in range(97)]
    text = "\n<|endoftext|>\n".join(stories)
    (tmp_path / "more").mkdir()
    for name in ("my.txt", "a.txt", "more/d.txt"):
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "b.jsonl").write_text('{"story": "a bee"}\n', encoding="utf-8")
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"story": ["two bees"]}), tmp_path / "c.parquet")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_they_run_one_after_the_other(place, tiny_file, capsys):
    assert len(COMMANDS) >= 6
    for command in COMMANDS:
        if "tinystories" in command:
            continue  # needs a network
        words = shlex.split(command.replace("--minutes 10", f"--config {tiny_file}"))[1:]
        with pytest.raises(SystemExit) as stop:
            main(words)
        shown = capsys.readouterr()
        assert stop.value.code == 0, f"{command}: {shown.err}"
        assert shown.out
    assert (place / "run" / "data" / "manifest.json").is_file()
    assert (place / "data" / "manifest.json").is_file()
