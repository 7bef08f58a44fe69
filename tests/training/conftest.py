"""Small trainings: tiny data, a configuration that takes a second, and ways to look at what a run left behind."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from storyloom.config import Config, apply_settings, load_config
from storyloom.data import Data, prepare
from storyloom.runtime import Runtime
from storyloom.training.trainer import Trainer

NAMES = ["Zoë", "Tim", "Anna", "Bo", "Lily", "Max"]
THINGS = ["kite", "ball", "hat", "drum", "boat"]


def short_story(n: int) -> str:
    """A story of 5 to 40 words, each another."""
    name, thing = NAMES[n % len(NAMES)], THINGS[n % len(THINGS)]
    more = "".join(f" Then {NAMES[(n * k) % len(NAMES)]} ran {k} times." for k in range(n % 7))
    return f"{name} had a {thing} of {n} colours.{more}\nThe end."


@pytest.fixture(scope="session")
def short_data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """Sixty-seven short stories of unequal length; read only."""
    folder = tmp_path_factory.mktemp("short")
    stories = "\n<|endoftext|>\n".join(short_story(n) for n in range(67))
    (folder / "a.txt").write_text(stories, encoding="utf-8")
    return prepare(folder / "a.txt", out=folder / "D", vocab_size=283, val_fraction=0.15)


@pytest.fixture
def make_trainer(tiny_file: Path, short_data: Data) -> Callable[..., Trainer]:
    """A trainer of the tiny configuration, with changes given as `--set` takes them."""

    def make(*settings: str) -> Trainer:
        config = apply_settings(load_config(tiny_file)[0], settings)
        return trainer_for(config, short_data)

    return make


def trainer_for(config: Config, data: Data) -> Trainer:
    model = config.model.with_(vocab_size=data.tokenizer.vocab_size)
    precision = "bf16" if config.train.precision == "bf16" else "fp32"
    runtime = Runtime(torch.device("cpu"), precision, 1, compile=config.train.compile is True)
    return Trainer(config.with_(model=model), data, runtime)


def rows(run: Path, kind: str | None = None, name: str = "metrics.jsonl") -> list[dict[str, Any]]:
    """The rows of a run's metrics, read without the code under test."""
    lines = (run / name).read_text(encoding="utf-8").split("\n")[:-1]
    return [row for row in map(json.loads, lines) if kind in (None, row["kind"])]


class Death(BaseException):
    """The process ends here."""


@pytest.fixture(scope="session")
def dying_at() -> Callable[[int], AbstractContextManager[None]]:
    """`with dying_at(step): ...` lets the update behind a step be the death of the process, which the block must meet.

    Samples and rows written so far stay.
    """

    @contextmanager
    def die(step: int) -> Iterator[None]:
        update = Trainer.update

        def dying(self: Trainer):
            if self.step == step:
                raise Death
            return update(self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Trainer, "update", dying)
            with pytest.raises(Death):
                yield

    return die


# The only figures that two equal runs may differ in; the logs' checksums depend on them.
TIMES = ("seconds", "tokens_per_second", "minutes", "elapsed", "logs")


def what_was_computed(run: Path) -> dict[str, Any]:
    """Everything a run leaves behind that must not depend on where it was interrupted."""
    metrics = [{k: v for k, v in row.items() if k not in TIMES} for row in rows(run) if row["kind"] != "start"]
    files = {}
    for checkpoint in ("last", "best"):
        folder = run / "checkpoints" / checkpoint
        for name in ("model.safetensors", "state.safetensors"):
            files[f"{checkpoint}/{name}"] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        state = json.loads((folder / "state.json").read_text())
        files[f"{checkpoint}/state"] = {k: v for k, v in state.items() if k not in TIMES}
    return {"metrics": metrics, "samples": rows(run, name="samples.jsonl"), **files}


@pytest.fixture(scope="session")
def computed() -> Callable[[Path], dict[str, Any]]:
    return what_was_computed


@pytest.fixture(scope="session")
def metric_rows() -> Callable[..., list[dict[str, Any]]]:
    return rows
