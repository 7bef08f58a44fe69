"""The folders that are damaged, and all that reads them."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import storyloom
from storyloom.cli import main
from storyloom.data import Data

from .damages import Files

CONFIG = """
[data]
tokenizer = "char"

[model]
n_layer = 1
n_head = 1
n_embd = 14
n_mlp = 17
block_size = 23
position = "learned"

[train]
max_steps = 7
batch_size = 3
warmup_steps = 1
precision = "fp32"
device = "cpu"
threads = 1
compile = false
eval_interval = 3
eval_stories = 2
sample_interval = 3
checkpoint_interval = 2
"""
LOGS = ("metrics.jsonl", "samples.jsonl")
TIMES = ("seconds", "tokens_per_second", "minutes", "elapsed")  # all of a row that may differ between equal runs
HAS_MODEL_FOLDERS = find_spec("storyloom.cli.export") is not None
RUNS = ("finished", "stopped")
FOLDERS = ("data", *RUNS, *(("model",) if HAS_MODEL_FOLDERS else ()))


class Death(BaseException):
    """The process ends here."""


def files_of(folder: Path) -> Files:
    """Everything below a folder; empty folders and what stands for a file are None."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if path.is_file() or not any(path.iterdir())
    }


def put(folder: Path, files: Files) -> None:
    """Make a folder hold these files and nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(content)


@dataclass
class Scene:
    """One data folder, a finished run, one that died midway, another that is never damaged, and a model folder.

    Args:
        root: holds all of them, under their names.
    """

    root: Path
    files: dict[str, Files] = field(default_factory=dict)
    """What each folder holds while it is whole."""

    def __post_init__(self) -> None:
        text, config = self.root / "a.txt", self.root / "config.toml"
        told = (f"Zoë had {n} hats.{' She ran.' * (n % 3)}" for n in range(29))
        text.write_text("\n<|endoftext|>\n".join(told), encoding="utf-8")
        config.write_text(CONFIG, encoding="utf-8")
        storyloom.prepare(text, out=self.at("data"), tokenizer="char", val_fraction=0.2)
        self.train("finished")
        self.train("whole", settings=["train.seed=3"])
        self._die()
        if HAS_MODEL_FOLDERS:
            words = ["export", str(self.at("finished")), "--to", "folder", "--out", str(self.at("model"))]
            with pytest.raises(SystemExit, match=r"^(0|None)$"):
                main(words)
        for name in (*FOLDERS, "whole"):
            self.files[name] = files_of(self.at(name))

    def at(self, name: str) -> Path:
        return self.root / name

    def train(self, name: str, **options: Any) -> None:
        given = {"config": self.root / "config.toml", "progress": False} | options
        storyloom.train(self.at("data"), out=self.at(name), **given)

    def _die(self) -> None:
        """Train until behind a checkpoint, so that the log has a row that no checkpoint vouches for."""

        def listen(row: Any) -> None:
            if row.kind == "train" and row.step == 5:
                raise Death

        try:
            self.train("stopped", progress=listen)
        except Death:
            return
        raise AssertionError("it trained to its end")

    def vouched(self, name: str, log: str) -> int:
        """How many bytes of a run's log its last checkpoint vouches for."""
        state = self.files[name]["checkpoints/last/state.json"]
        assert state is not None
        return json.loads(state)["logs"][log]["bytes"]

    def kept(self, name: str, log: str, files: Files) -> bytes:
        """What some files of a run have of a log up to that mark."""
        return (files.get(log) or b"")[: self.vouched(name, log)]

    def restore(self) -> None:
        """Put every folder back, and remove what readers made."""
        for name, files in self.files.items():
            if not self.at(name).is_dir() or files_of(self.at(name)) != files:
                put(self.at(name), files)
        shutil.rmtree(self.at("made"), ignore_errors=True)
        self.at("made.html").unlink(missing_ok=True)


def weights_of(run: Path) -> list[str]:
    """The weights of both checkpoints, by their bits."""
    files = [run / "checkpoints" / name / "model.safetensors" for name in ("last", "best")]
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def computed_rows(run: Path) -> list[Any]:
    """The rows of both logs without what tells of time or of the process; a line that is no row as it stands."""
    rows = []
    for line in (line for log in LOGS for line in (run / log).read_bytes().split(b"\n")[:-1]):
        try:
            row = json.loads(line)
        except ValueError:
            row = line
        if not isinstance(row, dict):
            rows.append(row)
        elif row.get("kind") not in ("start", "note"):
            rows.append({name: value for name, value in row.items() if name not in TIMES})
    return rows


def trained(run: Path) -> Any:
    """All that a training computed."""
    return weights_of(run), computed_rows(run)


def opened(scene: Scene, name: str) -> Any:
    data = Data(scene.at(name))
    tokens = {split: data.tokens(split) for split in ("train", "val")}
    read = {split: ids.read(0, len(ids)).tolist() for split, ids in tokens.items()}
    return read, [(story.text, list(story.ids)) for story in data.val_stories()]


def told(scene: Scene, name: str) -> Any:
    return storyloom.load(scene.at(name)).tell("Zoë", max_new_tokens=11, seed=3)


def told_by_last(scene: Scene, name: str) -> Any:
    return storyloom.load(scene.at(name), "last").tell("Zoë", max_new_tokens=11, seed=3)


def evaluated(scene: Scene, name: str) -> Any:
    return storyloom.evaluate(scene.at(name), data=scene.at("data") if name == "model" else None)


def evaluated_on(scene: Scene, name: str) -> Any:
    return storyloom.evaluate(scene.at("whole"), data=scene.at(name))


def trained_on(scene: Scene, name: str) -> Any:
    storyloom.train(scene.at(name), out=scene.at("made"), config=scene.root / "config.toml", progress=False)
    return trained(scene.at("made"))


def resumed(scene: Scene, name: str) -> Any:
    """All rows, and to the byte those that were vouched for; of a run that had to be trained on, the weights, too."""
    run = "stopped" if name == "data" else name
    storyloom.train(out=scene.at(run), resume=True, progress=False)
    return of_resumed(scene, run)


def of_resumed(scene: Scene, run: str) -> Any:
    kept = [scene.kept(run, log, files_of(scene.at(run))) for log in LOGS]
    weights = weights_of(scene.at(run)) if run == "stopped" else []  # no other is read
    return weights, computed_rows(scene.at(run)), kept


# The settings of `CONFIG` that a preset has otherwise and that `init` does not take from the run.
SHORT = (
    *("train.batch_size=3", "train.warmup_steps=1", "train.precision=fp32", "train.threads=1", "train.device=cpu"),
    *("train.compile=false", "train.eval_stories=2"),
)


def begun(scene: Scene, name: str) -> Any:
    scene.train("made", init=scene.at(name), config=None, settings=["train.max_steps=2", *SHORT])
    return trained(scene.at("made"))


def repeated(scene: Scene, name: str) -> Any:
    storyloom.train(out=scene.at("made"), repeat=scene.at(name), progress=False)
    return trained(scene.at("made"))


def reported(scene: Scene, name: str) -> Any:
    return storyloom.write_report(scene.at(name), out=scene.at("made.html")).read_bytes()


def compared(scene: Scene, name: str) -> Any:
    runs = [scene.at("whole"), scene.at(name)]
    return storyloom.compare_runs(runs, out=scene.at("made.html")).read_bytes()


@dataclass(frozen=True)
class Reader:
    """Something that reads a folder.

    Args:
        read: gives what must be the same after a damage that it does not notice.
        folders: those it reads.
        every: it is tried with one in this many damages, as some take longer than others.
    """

    read: Callable[[Scene, str], Any]
    folders: tuple[str, ...]
    every: int = 1


READERS = {
    "Data": Reader(opened, ("data",)),
    "train": Reader(trained_on, ("data",), every=7),
    "evaluate(data=...)": Reader(evaluated_on, ("data",)),
    "load(...).tell": Reader(told, (*RUNS, "model")),
    "load(..., 'last').tell": Reader(told_by_last, RUNS),
    "evaluate": Reader(evaluated, (*RUNS, "model")),
    "train(resume=True)": Reader(resumed, ("data", *RUNS)),
    "train(init=...)": Reader(begun, (*RUNS, "model"), every=5),
    "train(repeat=...)": Reader(repeated, ("finished",), every=5),
    "write_report": Reader(reported, RUNS, every=7),
    "compare_runs": Reader(compared, RUNS, every=11),
}
