"""Training is killed at random moments and in its saves, by each signal; it ends with the bits it would have had."""

import random
import signal
from pathlib import Path

import pytest
import torch

from storyloom.data import Data, prepare
from storyloom.runtime import device

from .chains import ALL, Chain, comparable

EAGER = {
    "adamw": [],
    "muon, dropout": ["train.optimizer=muon", "model.dropout=0.1"],
    "bf16, averaged": ["train.precision=bf16", "train.ema=0.9"],
    "padded, accumulated, every fifth update in a row": [
        *("data.rows=padded", "train.grad_accum_steps=3", "train.log_interval=5")
    ],
}
SAVING = [*ALL, signal.SIGKILL]  # the hardest, more often


@pytest.fixture
def chain(server, little, tiny_file, tmp_path, tally):
    """The beginning of a chain of a tiny training."""

    def begin(label: str, settings: list[str], data: Data | None = None, *more: object) -> Chain:
        changes = [word for setting in settings for word in ("--set", setting)]
        words = ["train", "--data", (data or little).path, "--config", tiny_file, "--resume", *changes, *more]
        return Chain(server, words, tmp_path / "chain", tally, label)

    return begin


def kill_eager(chain, name: str, kills: int, saving: bool, seed: int) -> None:
    updates = ["train.max_steps=31", "train.checkpoint_interval=1"]
    killed = chain("eager", [*updates, *EAGER[name]])
    killed.kill(kills, SAVING if saving else ALL, random.Random(seed), saving)
    assert killed.compared == killed.kills == kills


@pytest.mark.parametrize("saving", [False, True])
def test_killed(chain, saving):
    """The sample of `make test`."""
    kill_eager(chain, "muon, dropout", 4, saving, seed=3)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", EAGER)
def test_killed_at_random_moments(chain, name):
    kill_eager(chain, name, 30, False, seed=5)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", EAGER)
def test_killed_in_a_save(chain, name):
    kill_eager(chain, name, 15, True, seed=7)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not device.has_compiler(torch.device("cpu")), reason="no C++ compiler here")
@pytest.mark.parametrize(("precision", "optimizer"), [("fp32", "adamw"), ("bf16", "muon"), ("fp32", "muon")])
def test_killed_compiled_on_two_threads(chain, shared, tmp_path, precision, optimizer):
    """Sums of a compiled step on several threads came in an order of their own: no two runs had the same bits."""
    text = shared / "data" / "tinystories" / "valid.txt"
    data = prepare(text, out=tmp_path / "D", vocab_size=1031, limit_mb=0.6)
    settings = [
        *("train.threads=2", "train.compile=true", f"train.precision={precision}", f"train.optimizer={optimizer}"),
        *("model.dropout=0.1", "model.block_size=128", "train.batch_size=9"),  # 1,152 tokens in a micro-batch
        *("train.max_steps=101", "train.checkpoint_interval=3"),
    ]
    killed = chain("compiled, two threads", settings, data)
    killed.kill(20, ALL, random.Random(11))
    assert killed.compared == killed.kills == 20


def kill_with_minutes(server, tally, words: list[object], folder: Path, minutes: float, kills: int, seed: int) -> None:
    """Kill a run that has a deadline, resume it to its end, and repeat it: a clock never gives the same run twice."""
    raise NotImplementedError
