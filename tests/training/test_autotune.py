"""Probes: two ways in turns, and what is kept where the answer is not clear."""

from dataclasses import replace

import pytest
import torch

from storyloom.config import Config, apply_settings, load_config
from storyloom.runtime import Runtime
from storyloom.training import autotune, train
from storyloom.training.autotune import LEAD, decides_to_compile, fit_to_machine, is_faster
from storyloom.training.compiled import CompiledStep
from storyloom.training.trainer import Trainer


@pytest.fixture
def machine(monkeypatch):
    """A machine where an action takes as long as it says; returns the actions taken."""
    now, taken = [100.0], []

    def action(name: str, *seconds: float):
        """Takes these seconds in turn, the last of them for ever."""
        left = list(seconds)

        def act() -> None:
            taken.append(name)
            now[0] += left.pop(0) if len(left) > 1 else left[0]

        return act

    monkeypatch.setattr(autotune.time, "perf_counter", lambda: now[0])
    action.taken = taken
    return action


def test_what_is_clearly_faster_wins(machine):
    assert is_faster(machine("new", 0.8), machine("old", 1.0), 0.97, seconds=99)
    assert machine.taken == ["new", "old"] * (2 + LEAD)


@pytest.mark.parametrize("new", [0.98, 1.0, 3.0])
def test_what_is_not_clearly_faster_loses(machine, new):
    assert not is_faster(machine("new", new), machine("old", 1.0), 0.97, seconds=99)


def test_a_disturbance_decides_nothing(machine):
    """A single short timing, disturbed for a moment, decided on the arithmetic of a whole run."""
    slowed = [0.8, 0.8, *[7.0] * 4, 0.8]
    assert is_faster(machine("new", *slowed), machine("old", 1.0), 0.97, seconds=99)
    slowed = [1.0, 1.0, *[7.0] * 4, 1.0]
    assert not is_faster(machine("new", 1.0), machine("old", *slowed), 0.97, seconds=99)


def test_what_is_not_clear_in_time_stays(machine):
    assert not is_faster(machine("new", 8.0), machine("old", 10.0), 0.97, seconds=30)
    assert machine.taken == ["new", "old"] * 3  # two to warm up, and one turn although the time is over


@pytest.fixture
def pretend(monkeypatch, make_trainer):
    """Candidates take as long as a table says, by what `key` makes of their configuration and runtime."""
    asked = []

    def fake(seconds, key):
        monkeypatch.setattr(autotune, "_eager_update", lambda config, data, runtime: key(config, runtime))

        def compare(candidate, other, share):
            asked.extend({candidate, other} - set(asked))
            return seconds[candidate] <= share * seconds[other]

        monkeypatch.setattr(autotune, "is_faster", compare)
        return asked

    return fake


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
def test_an_updates_rows_are_split_for_as_long_as_it_becomes_faster(make_trainer, pretend, rows, seconds, chosen):
    trainer = make_trainer()
    pretend(seconds, lambda config, runtime: config.train.batch_size)
    config = apply_settings(Config(), [f"train.batch_size={rows}", "train.grad_accum_steps=auto"])
    train_settings = fit_to_machine(config, trainer.data, trainer.runtime)[0].train
    assert (train_settings.batch_size, train_settings.grad_accum_steps) == chosen


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
def test_threads_are_halved_for_as_long_as_that_is_faster(make_trainer, pretend, cores, seconds, chosen):
    trainer = make_trainer()
    pretend(seconds, lambda config, runtime: runtime.threads)
    before = torch.get_num_threads()
    try:
        config = apply_settings(Config(), ["train.threads=auto"])
        settled, runtime = fit_to_machine(config, trainer.data, replace(trainer.runtime, threads=cores))
        assert (runtime.threads, torch.get_num_threads()) == (chosen, chosen)
    finally:
        torch.set_num_threads(before)
    assert settled is config


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


@pytest.fixture
def compiles(tiny_file, short_data, monkeypatch):
    """Whether a run is compiled on a machine where an eager update takes a second, a compiled one as long as asked."""
    runtime = Runtime(torch.device("cpu"), "fp32", 1)
    monkeypatch.setattr(autotune, "has_compiler", lambda device: True)
    monkeypatch.setattr(autotune, "_seconds", lambda action: 1.0)

    def choose(*settings: str, updates: int | None = None, seconds: float = 0.5) -> bool:
        def eager(config, data, runtime, compiled):
            return Trainer(config, data, replace(runtime, compile=False))

        monkeypatch.setattr(autotune, "compiled_trainer", eager)
        monkeypatch.setattr(autotune, "is_faster", lambda compiled, eager, share: seconds <= share)
        config = apply_settings(load_config(tiny_file)[0], ["train.compile=auto", *settings])
        config = config.with_(model=config.model.with_(vocab_size=short_data.tokenizer.vocab_size))
        return decides_to_compile(config, short_data, runtime, CompiledStep(runtime.device), updates)

    return choose


def test_a_long_run_is_compiled_where_that_is_faster(compiles):
    assert compiles(updates=151)
    assert not compiles(updates=151, seconds=0.95)  # too little gained
    assert not compiles(updates=149)  # less than two and a half minutes of eager updates
    assert compiles("train.minutes=2.6")
    assert not compiles("train.minutes=2.4")
    assert not compiles("train.minutes=60", updates=7)
    assert not compiles("train.compile=false", updates=151)
    assert compiles("train.compile=true", updates=1)


def test_without_a_compiler_nothing_is_compiled(compiles, monkeypatch):
    monkeypatch.setattr(autotune, "has_compiler", lambda device: False)
    assert not compiles(updates=151)
