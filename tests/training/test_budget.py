"""From limits to a number of updates."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from storyloom.config import Config, apply_settings, load_config
from storyloom.data import IGNORED
from storyloom.errors import ConfigError
from storyloom.training import budget, train
from storyloom.training.budget import fit_to_machine, make_plan


@pytest.fixture
def steps(tiny_file, tmp_path, short_data, make_trainer):
    """The number of updates under some settings."""
    runtime = make_trainer().runtime

    def choose(*settings: str, minutes: float | None = None, started: float = 0.0) -> int:
        config = apply_settings(load_config(tiny_file)[0], ["train.max_steps=none", *settings])
        model = config.model.with_(vocab_size=short_data.tokenizer.vocab_size)
        scratch = tmp_path / "scratch"
        plan = make_plan(config.with_(model=model), short_data, runtime, minutes, started, scratch)
        assert not scratch.exists()
        return plan.max_steps

    return choose


def test_each_limit_by_hand(steps, make_trainer, short_data):
    assert steps("train.max_steps=13") == 13
    # micro-batches of 3 rows of 37 tokens, but for the last row of an epoch
    assert steps("train.max_tokens=1332") == 12
    assert steps("train.max_tokens=1300") == 11
    assert steps("train.max_tokens=1332", "train.grad_accum_steps=4") == 3
    stories = short_data.manifest["train"]["stories"]
    padded = ["data.rows=padded", "train.max_epochs=2.5"]
    assert steps(*padded) == round(2.5 * stories / 3)
    assert steps(*padded, "train.grad_accum_steps=5") == round(2.5 * stories / 15)
    rows = make_trainer().batches.rows_per_epoch
    assert rows == pytest.approx(short_data.manifest["train"]["tokens"] / 37, abs=1.1)
    assert steps("train.max_epochs=3") == round(3 * rows / 3)


@pytest.mark.parametrize("rows", ["stream", "padded"])
def test_so_many_tokens_are_seen_as_were_asked_for(steps, make_trainer, rows):
    """With padded rows the filling was counted, too: the run ended far too early."""
    trainer = make_trainer(f"data.rows={rows}")
    in_five_epochs = 0
    while trainer.batches.epochs < 5:
        in_five_epochs += int(np.count_nonzero(trainer.batches.next()[1] != IGNORED))
    n_steps = steps(f"data.rows={rows}", f"train.max_tokens={in_five_epochs}")
    assert n_steps == pytest.approx(5 * trainer.batches.rows_per_epoch / 3, abs=2)


def test_a_limit_below_one_update_is_one_update(steps):
    assert steps("train.max_tokens=1") == 1
    assert steps("train.max_epochs=0.0001") == 1


def test_the_smallest_limit_holds(steps):
    limits = {"train.max_steps=13": 13, "train.max_tokens=1332": 12, "data.rows=padded train.max_epochs=0.5": 9}
    for settings, expected in limits.items():
        others = ["train.max_steps=101", "train.max_tokens=99999", "train.max_epochs=71"]
        assert steps(*others, *settings.split()) == expected


def test_no_limit_is_refused(steps):
    with pytest.raises(ConfigError, match=r"training has no end: give --minutes, or one of train\.max_steps"):
        steps()


@pytest.fixture
def known_times(monkeypatch, make_trainer):
    """A machine where an update takes 0.25 s, an evaluation 0.5 s, a sample 0.125 s and a save 0.375 s, 2 s after the
    start.
    """
    seconds = {"update": 0.25, "evaluate": 0.5, "sample": 0.125, "save": 0.375}
    asked = []

    def measure(action) -> float:
        asked.append(action.__name__)
        return seconds[action.__name__]

    monkeypatch.setattr(budget, "_seconds", measure)
    monkeypatch.setattr(budget, "time", SimpleNamespace(perf_counter=lambda: 102.0))
    return asked


def test_minutes_are_divided_by_hand(steps, known_times, short_data):
    val = short_data.manifest["val"]["stories"]
    assert val > 3  # only the first three are evaluated on the way
    final = 0.5 * val / 3
    # evaluations, each of which may be the best, every 5 updates; samples every 7, checkpoints every 2
    each = 0.25 + (0.5 + 0.375) / 5 + 0.125 / 7 + 0.375 / 2
    expected = int((60 * 1.5 - 2 - final - 0.5 - 0.375) / each)
    assert steps(minutes=1.5, started=100.0) == expected
    assert steps("train.max_steps=13", minutes=1.5, started=100.0) == 13
    assert known_times.count("update") >= budget.PROBE_STEPS


def test_the_probe_lasts_long_enough_to_be_believed(steps, known_times, monkeypatch):
    monkeypatch.setattr(budget, "PROBE_SECONDS", 4.1)
    steps(minutes=1.5, started=100.0)
    assert known_times.count("update") == 10 + 17  # a quarter of a second each, the first ten to warm up


def test_of_a_large_model_one_update_warms_up_and_one_is_measured(steps, known_times, monkeypatch):
    monkeypatch.setattr(budget, "PROBE_SECONDS", 0.2)
    steps(minutes=1.5, started=100.0)
    assert known_times.count("update") == 2


def test_too_little_time_is_refused_with_what_it_takes(steps, known_times, short_data):
    with pytest.raises(ConfigError) as caught:
        steps(minutes=0.05, started=100.0)
    message = str(caught.value)
    assert message.startswith("--minutes 0.05 is too little")
    needed = float(re.search(r"about ([\d.e+-]+) minutes", message)[1]) * 60
    assert needed == pytest.approx(2 + 0.25 + 0.5 + 0.375 + 0.5 * short_data.manifest["val"]["stories"] / 3, rel=0.05)


def test_a_probe_leaves_its_configuration_alone(steps, known_times):
    config = Config()
    steps(minutes=1.5, started=100.0)
    assert config == Config()


@pytest.mark.parametrize(
    ("rows", "seconds", "chosen"),
    [
        (16, {16: 1.0, 8: 0.8, 4: 0.7, 2: 0.6}, (2, 8)),
        (16, {16: 1.0, 8: 0.8, 4: 0.79, 2: 0.1}, (8, 2)),  # not enough faster, and so no further
        (16, {16: 1.0, 8: 1.1}, (16, 1)),
        (12, {12: 1.0, 6: 0.8, 3: 0.7}, (3, 4)),  # 12 rows are not split into 8
        (5, {5: 1.0}, (5, 1)),
    ],
)
def test_an_updates_rows_are_split_for_as_long_as_it_becomes_faster(make_trainer, monkeypatch, rows, seconds, chosen):
    trainer = make_trainer()
    asked = []

    def pretend(config: Config, data: object, runtime: object) -> float:
        assert config.train.batch_size * config.train.micro_batches == rows
        asked.append(config.train.batch_size)
        return seconds[config.train.batch_size]

    monkeypatch.setattr(budget, "_fastest_update", pretend)
    config = apply_settings(Config(), [f"train.batch_size={rows}", "train.grad_accum_steps=auto"])
    train = fit_to_machine(config, trainer.data, trainer.runtime)[0].train
    assert (train.batch_size, train.grad_accum_steps) == chosen
    assert asked == list(seconds)[: len(asked)]


@pytest.mark.parametrize(
    ("cores", "seconds", "chosen"),
    [
        (8, {8: 1.0, 4: 1.1}, 8),
        (8, {8: 1.0, 4: 0.98}, 8),  # too little to be sure of
        (8, {8: 1.0, 4: 0.8, 2: 0.79}, 4),
        (8, {8: 1.0, 4: 0.8, 2: 0.7, 1: 0.6}, 1),
        (6, {6: 1.0, 3: 0.8, 1: 1.5}, 3),
        (1, {1: 1.0}, 1),
    ],
)
def test_threads_are_halved_for_as_long_as_that_is_faster(monkeypatch, make_trainer, cores, seconds, chosen):
    trainer = make_trainer()
    asked = []

    def pretend(config, data, runtime) -> float:
        asked.append(runtime.threads)
        return seconds[runtime.threads]

    monkeypatch.setattr(budget, "_fastest_update", pretend)
    before = torch.get_num_threads()
    try:
        config = apply_settings(Config(), ["train.threads=auto"])
        settled, runtime = fit_to_machine(config, trainer.data, replace(trainer.runtime, threads=cores))
        assert (runtime.threads, torch.get_num_threads()) == (chosen, chosen)
    finally:
        torch.set_num_threads(before)
    assert settled is config
    assert asked == list(seconds)[: len(asked)]


def test_what_is_set_by_hand_is_left_alone(make_trainer):
    trainer = make_trainer()
    config = Config().with_(train=Config().train.with_(grad_accum_steps=3, threads=1))
    assert fit_to_machine(config, trainer.data, trainer.runtime) == (config, trainer.runtime)


def test_a_run_keeps_what_was_settled(tmp_path, tiny_file, short_data):
    settings = ["train.batch_size=4", "train.grad_accum_steps=auto", "train.threads=auto", "train.max_steps=2"]
    run = train(short_data, out=tmp_path / "R", config=tiny_file, settings=settings, progress=False)
    settled = run.config.train
    assert settled.batch_size * settled.micro_batches == 4
    assert isinstance(settled.threads, int)
    assert train(out=tmp_path / "R", resume=True, progress=False).config == run.config
