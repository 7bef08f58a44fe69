"""Training is killed at random moments and in its saves, by each signal; it ends with the bits it would have had."""

import random
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from storyloom.data import Data, prepare
from storyloom.runtime import device
from storyloom.training import train

from ..training.conftest import what_was_computed
from .chains import ALL, Chain

EAGER = {
    "adamw": [],
    "muon, dropout": ["train.optimizer=muon", "model.dropout=0.1"],
    "bf16, averaged": ["train.precision=bf16", "train.ema=0.9"],
    "padded, accumulated, every fifth update in a row": [
        *("data.rows=padded", "train.grad_accum_steps=3", "train.log_interval=5")
    ],
}
EVERY = ["train.checkpoint_interval=1"]
SAVING = [*ALL, signal.SIGKILL]  # the hardest, more often


@pytest.fixture
def command(little, tiny_file):
    """The words of a tiny training, without its folder."""

    def words(settings: list[str], *more: object, data: Data = little) -> list[object]:
        changes = [word for setting in settings for word in ("--set", setting)]
        return ["train", "--data", data.path, "--config", tiny_file, "--resume", *changes, *more]

    return words


@pytest.fixture
def chain(server, tmp_path, tally):
    """The beginning of a chain, which is compared with a run of the same command that nobody kills."""

    def begin(words: list[object], label: str) -> Chain:
        start = time.monotonic()
        whole = server.run(*words, "--out", tmp_path / "whole")
        assert whole.wait() == 0, whole.said
        seconds, computed = time.monotonic() - start, what_was_computed(tmp_path / "whole")

        def check(run: Path) -> None:
            assert what_was_computed(run) == computed

        (tmp_path / "chain").mkdir()
        return Chain(server, words, tmp_path / "chain" / "R", check, seconds, tally, label)

    return begin


def kill_eager(chain, words: list[object], kills: int, saving: bool, seed: int) -> None:
    killed = chain(words, "eager")
    killed.kill(kills, SAVING if saving else ALL, random.Random(seed), saving)
    assert killed.compared == killed.kills == kills


@pytest.mark.parametrize("saving", [False, True])
def test_killed(chain, command, saving):
    """The sample of `make test`."""
    kill_eager(
        chain, command(["train.max_steps=7", *EVERY, *EAGER["muon, dropout"]]), 2 if saving else 3, saving, seed=3
    )


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", EAGER)
def test_killed_at_random_moments(chain, command, name):
    kill_eager(chain, command(["train.max_steps=31", *EVERY, *EAGER[name]]), 30, False, seed=5)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", EAGER)
def test_killed_in_a_save(chain, command, name):
    kill_eager(chain, command(["train.max_steps=31", *EVERY, *EAGER[name]]), 15, True, seed=7)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not device.has_compiler(torch.device("cpu")), reason="no C++ compiler here")
@pytest.mark.parametrize(("precision", "optimizer"), [("fp32", "adamw"), ("bf16", "muon"), ("fp32", "muon")])
def test_killed_compiled_on_two_threads(chain, server, command, shared, tmp_path, precision, optimizer):
    """Sums of a compiled step on several threads came in an order of their own: no two runs had the same bits."""
    text = shared / "data" / "tinystories" / "valid.txt"
    data = prepare(text, out=tmp_path / "D", vocab_size=1031, limit_mb=0.6)
    settings = [
        *("train.threads=2", "train.compile=true", f"train.precision={precision}", f"train.optimizer={optimizer}"),
        *("model.dropout=0.1", "model.block_size=128", "train.batch_size=9"),  # 1,152 tokens in a micro-batch
        *("train.max_steps=101", "train.checkpoint_interval=3"),
    ]
    server.ask({"load": "torch._inductor.compile_fx"})
    killed = chain(command(settings, data=data), "compiled, two threads")
    killed.kill(20, ALL, random.Random(11))
    assert killed.compared == killed.kills == 20


def kill_with_deadline(server, words: list[object], folder: Path, tally, minutes: float, kills: int, seed: int) -> None:
    """A clock never gives the same run twice: each is compared with its own repetition."""

    def check(run: Path) -> None:
        shutil.rmtree(folder / "again", ignore_errors=True)
        again = train(out=folder / "again", repeat=run, progress=False)
        assert what_was_computed(again.path) == what_was_computed(run)

    (folder / "chain").mkdir()
    words = [*words, "--minutes", minutes]
    killed = Chain(server, words, folder / "chain" / "R", check, 15 * minutes, tally, "with --minutes")
    killed.kill(kills, ALL, random.Random(seed))
    assert killed.compared == killed.kills == kills


def test_killed_with_a_deadline(server, command, tmp_path, tally):
    """The sample of `make test`."""
    kill_with_deadline(server, command(["model.dropout=0.1"]), tmp_path, tally, minutes=0.08, kills=2, seed=13)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("seed", "minutes"), [(17, 0.15), (19, 0.2), (23, 0.25), (29, 0.3)])
def test_killed_with_deadlines(server, command, tmp_path, tally, seed, minutes):
    settings = ["model.dropout=0.1", "train.optimizer=muon", "train.ema=0.9"]
    kill_with_deadline(server, command(settings), tmp_path, tally, minutes, 10, seed)
