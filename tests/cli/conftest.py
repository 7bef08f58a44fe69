"""The command line in this process, and one folder with everything that its commands can be pointed at."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow
import pyarrow.parquet
import pytest

import storyloom
from storyloom.cli import main

# Trains in a second; the sizes differ from one another.
TINY = """
[data]
vocab_size = 307
[model]
n_layer = 2
n_head = 2
n_embd = 32
block_size = 37
[train]
max_steps = 5
batch_size = 3
warmup_steps = 2
precision = "fp32"
threads = 1
eval_interval = 3
eval_stories = 2
sample_interval = 4
checkpoint_interval = 2
"""

LONGEST_MESSAGE = 240  # characters, paths included: a message is read, not searched


class Outcome(NamedTuple):
    """What a command left behind."""

    status: int
    out: str
    err: str


Command = Callable[..., Outcome]


def separated(stories: list[str]) -> str:
    return "\n<|endoftext|>\n".join(stories)


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts, configurations, data folders and finished runs; to be read only."""
    folder = tmp_path_factory.mktemp("workspace")
    texts = {
        "empty.txt": "",
        "white.txt": " \n\t\n",
        "one.txt": "Once upon a time there was one story only. " * 41,
        "many.txt": separated([f"In year {i} a cat met {i * i} dogs and sat down." for i in range(97)]),
        "small.txt": separated([f"a {i}" for i in range(19)]),
        "afile": "no folder",
        "tiny.toml": TINY,
        "endless.toml": TINY.replace("max_steps = 5\n", ""),
        "broken.toml": "[train\nmax_steps = 5",
        "misspelt.toml": TINY.replace("[train]", "[trian]"),
        "broken.jsonl": '{"text": "a"}\n\n{"text": ',
        "columns.jsonl": '{"story": "a", "title": "b"}\n',
        "numbers.jsonl": '{"text": "a"}\n{"text": 7}\n',
        "list.jsonl": '["a"]\n',
        "surrogate.jsonl": '{"text": "\\ud800"}\n',
        "nulls.jsonl": '{"text": null}\n',
        "fake.parquet": "no parquet",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "latin.txt").write_bytes("one\ntwo\nthr\xe9e\n".encode("latin-1"))
    (folder / "latin.toml").write_bytes("# \xe9\n".encode("latin-1"))
    (folder / "latin.jsonl").write_bytes('{"text": "a"}\n{"text": "\xe9"}\n'.encode("latin-1"))
    pyarrow.parquet.write_table(pyarrow.table({"title": ["a"], "text": [7]}), folder / "numbers.parquet")
    (folder / "emptydir").mkdir()
    story_data = storyloom.prepare("storybook", out=folder / "D", vocab_size=307, limit_mb=0.05)
    char_data = storyloom.prepare(folder / "many.txt", out=folder / "D-char", tokenizer="char")
    storyloom.prepare(folder / "small.txt", out=folder / "D-small", tokenizer="char", val_fraction=0.3)
    for data, out in ((story_data, "R"), (char_data, "R-char")):
        storyloom.train(data, out=folder / out, config=folder / "tiny.toml", progress=False)
    shutil.copytree(folder / "R", folder / "R-format")  # as a version to come may leave it
    config = (folder / "R-format" / "config.toml").read_text(encoding="utf-8")
    (folder / "R-format" / "config.toml").write_text(config.replace("format = 1", "format = 2"), encoding="utf-8")
    return folder


@pytest.fixture
def command(workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `storyloom` with some words, in the workspace."""
    monkeypatch.chdir(workspace)

    def run(*words: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        return Outcome(stop.value.code, *capsys.readouterr())  # pyright: ignore[reportArgumentType]

    return run


@pytest.fixture
def refused(command: Command, workspace: Path, tmp_path: Path) -> Callable[..., str]:
    """Run a command that must be refused: status 2, one line, nothing printed, nothing on disk changed."""

    def run(*words: object) -> str:
        before = listing(workspace, tmp_path)
        outcome = command(*words)
        assert (outcome.status, outcome.out) == (2, ""), outcome.err
        *notes, line, end = outcome.err.split("\n")
        assert all(note.startswith("note: preparing ") for note in notes), (
            outcome.err
        )  # a sign of life before long work
        assert line.startswith("storyloom: ")
        assert end == ""
        assert "Errno" not in line
        message = line.replace(str(tmp_path), "").replace(str(workspace), "")
        assert len(message) <= LONGEST_MESSAGE, message
        assert listing(workspace, tmp_path) == before
        return line

    return run


@pytest.fixture
def copied(workspace: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of one of the workspace's folders, to be damaged."""

    def copy(name: str) -> Path:
        return shutil.copytree(workspace / name, tmp_path / f"{name}-copy")

    return copy


def listing(*folders: Path) -> dict[Path, str]:
    """Everything below some folders, with the checksums of files."""
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for folder in folders
        for path in folder.rglob("*")
    }
