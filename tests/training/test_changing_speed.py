"""What a deadline costs as the speed changes: the preset `tiny`, really trained, by a clock that is scripted.

Minutes long, as the loss of a few updates says little.
"""

import math
from importlib import import_module
from statistics import fmean
from types import SimpleNamespace

import pytest

from storyloom.data import Data, prepare
from storyloom.training import train
from storyloom.training.trainer import Trainer

SEEDS = (1, 2, 3)
# By the share of the time that is over: how many updates a second, and how many seconds there are; and how many times
# the loss of a run planned so from the start may be. Whoever does not know that every speed will be half of the last
# has made nine updates of ten when half of the time is over: the learning rate falls over the last tenth alone.
SPEEDS = {
    "a third from the middle on": (lambda share: 1.0 if share < 0.5 else 1 / 3, 600, 1.01),
    "a third up to the middle": (lambda share: 1 / 3 if share < 0.5 else 1.0, 600, 1.01),
    # Each speed lasts for twice as long as the one before: 36 updates at each.
    "halved ten times": (lambda share: 100 * 0.5 ** min(10, int(math.log2(1 + 2047 * share))), 737, 1.04),
}
QUIET = ["train.eval_interval=100000", "train.sample_interval=100000", "train.checkpoint_interval=100000"]


@pytest.fixture(scope="module")
def storybook(tmp_path_factory) -> Data:
    return prepare("storybook", out=tmp_path_factory.mktemp("storybook") / "D", preset="tiny")


@pytest.fixture
def scripted(monkeypatch):
    """Let the clock be moved by updates alone, each by as much as the speed says."""

    def script(speed, seconds: int) -> None:
        now, update = [0.0], Trainer.update

        def timed(self: Trainer):
            now[0] += 1 / speed(now[0] / seconds)
            return update(self)

        monkeypatch.setattr(Trainer, "update", timed)
        for name in ("train", "loop", "trainer", "resolve"):
            module = import_module(f"storyloom.training.{name}")
            monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    return script


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("name", SPEEDS)
def test_the_loss_is_that_of_a_run_planned_so_from_the_start(
    tmp_path, storybook, scripted, monkeypatch, metric_rows, name
):
    speed, seconds, most = SPEEDS[name]
    ratios = []
    for seed in SEEDS:
        settings = [*QUIET, f"train.seed={seed}", "train.compile=false"]
        with monkeypatch.context():
            scripted(speed, seconds)
            options = {"preset": "tiny", "settings": settings, "progress": False}
            changing = train(storybook, out=tmp_path / f"changing-{seed}", minutes=seconds / 60, **options)
        monkeypatch.undo()
        updates = metric_rows(changing.path, "train")
        assert updates[-1]["elapsed"] == pytest.approx(seconds, rel=0.02)
        rates = [row["learning_rate"] for row in updates][changing.config.train.warmup_steps :]
        assert rates == sorted(rates, reverse=True)
        assert rates[-1] <= 0.05 * max(rates)  # an update before the minimum, of the few dozens that it falls over
        options["settings"] = [*settings, f"train.max_steps={len(updates)}", "train.max_epochs=none"]
        planned = train(storybook, out=tmp_path / f"planned-{seed}", **options)
        losses = [metric_rows(run.path, "final")[0]["nats_per_token"] for run in (changing, planned)]
        ratios.append(losses[0] / losses[1])
        print(f"{name}, seed {seed}: {len(updates)} updates, {losses[0]:.4f} and {losses[1]:.4f} nats/token")
    print(f"{name}: {fmean(ratios):.4f} times the loss")
    assert fmean(ratios) <= most
