"""A run that must end at a time: what it plans as the machine's speed changes, and that its rows repeat its bits."""

import json
import shutil
from collections.abc import Callable
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from storyloom.config import TrainConfig, load_config
from storyloom.errors import ConfigError, RunError
from storyloom.runs import load_checkpoint, rows
from storyloom.runs.rows import PlanRow, RunLog
from storyloom.training import deadline, train
from storyloom.training.deadline import EVENTS, Deadline
from storyloom.training.plan import Plan
from storyloom.training.trainer import Trainer

COSTS = {"eval": 1.0, "sample": 0.5, "checkpoint": 0.25, "final": 4.0}  # seconds at full speed
UPDATE = 0.05


class Machine:
    """Pretends to train for three minutes, at a speed that is a function of the time."""

    def __init__(self, folder: Path, speed: Callable[[float], float], **settings: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.settings = TrainConfig(minutes=3.0, warmup_steps=20, **settings)
        self.speed, self.costs, self.folder = speed, COSTS, folder
        self.of_events = speed
        self.now = 7.0  # what came before the first update
        self.times: dict[str, list[float]] = {event: [] for event in EVENTS}
        self.trainer = SimpleNamespace(step=0, plan=Plan.whole(None, 20), is_at_end=False)

    def work(self, seconds: float, speed: Callable[[float], float] | None = None) -> float:
        """Do what takes these seconds at full speed; returns those it takes."""
        begun = self.now
        while seconds > 0:  # in small pieces, as the speed may change meanwhile
            piece = min(seconds, 0.01)
            self.now += piece / (speed or self.of_events)(self.now)
            seconds -= piece
        return self.now - begun

    def run(self, most: int | None = None) -> "Machine":
        trainer, log = self.trainer, RunLog(self.folder)
        share = self.costs["eval"] / self.costs["final"]

        def final() -> float:
            return self.work(0.02 * self.costs["final"]) / 0.02

        director = Deadline(self.settings, log, lambda: self.now, most=most, final=final, share=share)
        while not trainer.is_at_end:
            seconds = self.work(UPDATE, self.speed)
            trainer.step += 1
            trainer.is_at_end = trainer.plan.end is not None and trainer.step >= trainer.plan.end
            due = director.after_update(trainer, seconds)
            for event in (event for event in EVENTS if event in due):
                self.times[event].append(self.now)
                director.took(event, self.work(self.costs[event]))
            if due:
                director.after_events(trainer)
        self.work(self.costs["eval"] + 2 * self.costs["checkpoint"] + self.costs["final"])
        log.close()
        return self

    @property
    def plans(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()]


SPEEDS = {
    "steady": lambda now: 1.0,
    "taken": lambda now: 1.0 if now < 60 else 1 / 3,
    "freed": lambda now: 1 / 3 if now < 60 else 1.0,
    "halved": lambda now: 0.5 ** min(3, int(now / 25)),
    "shaken": lambda now: 0.1 if int(now) % 7 == 0 else 1.0,
    "stopped for a while": lambda now: 0.001 if 100 < now < 130 else 1.0,
}


@pytest.mark.parametrize("speed", SPEEDS)
def test_the_end_is_at_the_time(tmp_path, speed):
    """The length of a run was fixed by a probe at its start: three minutes took nine where a core was taken away."""
    assert 0.9 * 180 <= Machine(tmp_path, SPEEDS[speed]).run().now <= 1.05 * 180


@pytest.mark.parametrize("share", [0.5, 1.3])
def test_evaluations_that_slow_down_otherwise_than_updates(tmp_path, share):
    """They were taken to slow down as updates do: where a core was taken, a run ended long before its time."""
    machine = Machine(tmp_path, SPEEDS["taken"])
    machine.of_events = lambda now: machine.speed(now) ** share
    assert machine.run().now == pytest.approx(180, rel=0.02)


def test_time_that_is_over_all_of_a_sudden_still_lets_the_rate_fall(tmp_path):
    """The last update is near progress 1, soon after the time: a model at its peak rate would be worth little."""
    machine = Machine(tmp_path, lambda now: 0.0005 if 120 < now < 200 else 1.0).run()
    assert 200 < machine.now < 200 + 0.05 * 180 + sum(COSTS.values())
    assert machine.trainer.plan.progress_at(machine.trainer.step) == 1.0
    assert machine.plans[-1]["updates"] > 10


@pytest.mark.parametrize("speed", SPEEDS)
def test_each_plan_continues_the_one_before(tmp_path, speed):
    plans = Machine(tmp_path, SPEEDS[speed]).run().plans
    assert plans[0]["step"] <= 3
    for before, after in pairwise(plans):
        assert after["progress"] >= before["progress"]
        to_go = before["updates"] - (after["step"] - before["step"])
        moved = abs(after["updates"] - to_go) > deadline.MOVED * to_go
        assert moved != bool(after["due"])  # what the clock makes due changes no plan, and small changes are no plan
    assert len(plans) < 100


def apart(times: list[float]) -> list[float]:
    return [after - before for before, after in pairwise(times)]


def test_on_a_slow_machine_the_clock_makes_things_due(tmp_path):
    machine = Machine(tmp_path, lambda now: 0.5, eval_interval=9999, sample_interval=9999, checkpoint_interval=9999)
    machine.run()
    for event in EVENTS:
        assert apart(machine.times[event]) == pytest.approx([60], abs=5)  # a third would be too near to the end


def test_on_a_fast_machine_nothing_takes_more_than_a_twentieth_of_the_time(tmp_path):
    machine = Machine(tmp_path, lambda now: 1.0, eval_interval=10, sample_interval=200, checkpoint_interval=10).run()
    for event, times in machine.times.items():
        assert len(times) > 3
        assert min(apart(times)) == pytest.approx(COSTS[event] / 0.05, abs=2)


def test_of_all_limits_the_smallest_holds(tmp_path):
    machine = Machine(tmp_path, SPEEDS["steady"]).run(most=777)
    assert machine.trainer.step == 777
    assert machine.now < 60


@pytest.fixture
def clock(monkeypatch):
    """A clock that is moved by updates and evaluations alone, by other times at each."""
    rng = np.random.default_rng(7)
    now = [100.0]

    def taking(method, seconds: float):
        def timed(self, *arguments):
            now[0] += seconds * rng.uniform(0.5, 3)
            return method(self, *arguments)

        return timed

    for name, seconds in {"update": 0.5, "evaluate": 0.2, "sample": 0.1, "seconds_to_evaluate": 0.1}.items():
        monkeypatch.setattr(Trainer, name, taking(getattr(Trainer, name), seconds))
    for name in ("train", "loop", "trainer", "resolve"):
        module = import_module(f"storyloom.training.{name}")
        monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now[0]))


@pytest.fixture
def timed(tmp_path, tiny_file, short_data, clock, dying_at):
    """Runs of about 40 updates of a second; they may die at some steps."""

    def begin(name: str, *deaths: int, minutes: float = 0.7, resumed: bool = False):
        options = {"out": tmp_path / name, "config": tiny_file, "minutes": minutes, "progress": False}
        options["settings"] = ["model.dropout=0.1", "train.ema=0.9"]
        for n, step in enumerate(deaths):
            with dying_at(step):
                train(short_data, **options, resume=n > 0)
        return train(short_data, **options, resume=resumed or bool(deaths))

    return begin


@pytest.mark.parametrize("deaths", [(), (3, 11, 25)])
def test_a_run_repeated_from_its_own_rows_ends_with_the_same_bits(tmp_path, timed, computed, metric_rows, deaths):
    run = timed("A", *deaths)
    assert len(metric_rows(run.path, "plan")) > 3
    assert len(metric_rows(run.path, "eval")) > 2
    again = train(out=tmp_path / "B", repeat=run.path, progress=False)
    first, second = computed(run.path), computed(again.path)
    for found in (first, second):
        found["metrics"] = [row for row in found["metrics"] if row["kind"] != "note"]
    assert first == second
    assert again.config == run.config
    assert train(out=tmp_path / "C", repeat=again.path, progress=False).config == run.config


def test_a_repeated_run_may_be_interrupted_too(tmp_path, timed, computed, metric_rows, dying_at):
    """Also between a checkpoint and the plan that was made after it."""
    run = timed("A")
    whole, plans = computed(run.path), metric_rows(run.path, "plan")
    twice = [a["step"] for a, b in pairwise(plans) if a["step"] == b["step"] and "checkpoint" in a["due"]]
    assert twice
    for n, step in enumerate(sorted({7, *twice})):
        with dying_at(step):
            train(out=tmp_path / "B", repeat=None if n else run.path, resume=n > 0, progress=False)
        shutil.rmtree(run.path, ignore_errors=True)  # its plans are the new run's own
    assert computed(train(out=tmp_path / "B", resume=True, progress=False).path) == whole
    with pytest.raises(RunError, match="does not exist"):
        train(out=tmp_path / "C", repeat=run.path, progress=False)


def test_other_plans_would_be_seen(tmp_path, timed, computed, monkeypatch):
    """The comparison above can fail: one plan less is another run."""
    run = timed("A")
    read = rows.read_rows

    def without_one(path, kind):
        found = read(path, kind)
        if kind is PlanRow and path.parent == run.path:
            found.remove(max((row for row in found if not row.due), key=lambda row: row.step))
        return found

    monkeypatch.setattr(import_module("storyloom.training.begin"), "read_rows", without_one)
    again = train(out=tmp_path / "B", repeat=run.path, progress=False)
    assert computed(again.path)["last/model.safetensors"] != computed(run.path)["last/model.safetensors"]


def test_altered_plans_are_not_followed(tmp_path, timed):
    """A digit changed in a plan row, and the repeated run had other weights without a word."""
    run = timed("A")
    content = (run.path / "metrics.jsonl").read_text()
    place = content.index('"updates": ') + len('"updates": ')
    (run.path / "metrics.jsonl").write_text(content[:place] + "9" + content[place + 1 :])
    with pytest.raises(RunError, match=r"metrics\.jsonl is damaged"):
        train(out=tmp_path / "B", repeat=run.path, progress=False)
    assert not (tmp_path / "B").exists()


def test_a_repetition_of_a_repetition_begins_with_the_same_weights(tmp_path, tiny_file, short_data, computed):
    """The second one began with random weights, as the first had not noted whose it began with."""
    options = {"settings": ["train.max_steps=3"], "progress": False}
    first = train(short_data, out=tmp_path / "first", config=tiny_file, **options)
    run = train(short_data, out=tmp_path / "A", config=tiny_file, init=first.path, **options)
    again = train(out=tmp_path / "B", repeat=run.path, progress=False)
    third = train(out=tmp_path / "C", repeat=again.path, progress=False)
    assert computed(run.path) == computed(again.path) == computed(third.path)


def test_a_repetition_that_would_begin_with_other_weights_is_refused(tmp_path, tiny_file, short_data):
    """Trained on or again, the run that it began with has others: the repetition ended elsewhere, without a word."""
    options = {"config": tiny_file, "progress": False}
    first = train(short_data, out=tmp_path / "first", settings=["train.max_steps=3"], **options)
    run = train(short_data, out=tmp_path / "A", init=first.path, settings=["train.max_steps=2"], **options)
    shutil.rmtree(first.path)
    train(short_data, out=first.path, settings=["train.max_steps=3", "train.seed=8"], **options)
    with pytest.raises(RunError, match=r"first no longer has the weights that .*A began with"):
        train(out=tmp_path / "B", repeat=run.path, progress=False)
    assert not (tmp_path / "B").exists()


def test_a_limit_of_one_update_holds_beside_minutes(tmp_path, tiny_file, short_data, clock, metric_rows):
    """Two were made, and a plan had -1 to go."""
    settings = ["train.max_steps=1"]
    run = train(short_data, out=tmp_path / "R", config=tiny_file, minutes=1, settings=settings, progress=False)
    assert [row["step"] for row in metric_rows(run.path, "train")] == [1]


@pytest.mark.parametrize("value", ["5e373", '"x"', "null", "-3", "[1]"])
def test_a_damaged_time_behind_the_checkpoint_is_named(tmp_path, timed, dying_at, tiny_file, short_data, value):
    """Resuming ended with a traceback."""
    settings = ["model.dropout=0.1", "train.ema=0.9"]
    with dying_at(9):
        train(short_data, out=tmp_path / "A", config=tiny_file, minutes=0.7, settings=settings, progress=False)
    path = tmp_path / "A" / "metrics.jsonl"
    whole = path.read_text()
    path.write_text(f'{whole}{{"kind": "train", "step": 10, "elapsed": {value}}}\n')
    with pytest.raises(RunError, match=rf"line {len(whole.splitlines()) + 1} .*: remove that line and all behind it"):
        train(out=tmp_path / "A", resume=True, progress=False)
    path.write_text(whole)
    assert timed("A", resumed=True).path == tmp_path / "A"


def test_evaluation_is_planned_by_tokens_not_by_stories(make_trainer, monkeypatch):
    """One long story among short ones was planned as a short one, and the run ended a quarter late."""
    trainer = make_trainer()
    few = sum(len(story.ids) + 1 for story in trainer.eval_stories)
    now = iter([0.0, 2.0])
    module = import_module("storyloom.training.trainer")
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: next(now)))
    assert trainer.seconds_to_evaluate(10 * few) == pytest.approx(20.0)


def test_a_resumed_run_has_the_time_that_was_left(timed, metric_rows, tmp_path):
    run = timed("A", 9, minutes=1.0)
    final = metric_rows(run.path, "final")[0]
    elapsed = [row["elapsed"] for row in metric_rows(run.path, "train")]
    assert elapsed == sorted(elapsed)
    assert load_checkpoint(run.checkpoint_folder("last")).state["elapsed"] == pytest.approx(60, rel=0.1)
    assert load_config(run.path / "config.toml")[0].train.minutes == 1.0
    assert 0.9 < final["minutes"] < 1.05
    at_death = elapsed[8]
    assert metric_rows(run.path, "train")[8]["step"] == 9
    assert elapsed[-1] - at_death < 60 - at_death


def test_a_run_that_is_not_finished_cannot_be_repeated(tmp_path, tiny_file, short_data, dying_at):
    with dying_at(5):
        train(short_data, out=tmp_path / "A", config=tiny_file, progress=False)
    with pytest.raises(RunError, match="is not finished"):
        train(out=tmp_path / "B", repeat=tmp_path / "A", progress=False)
    with pytest.raises(ConfigError, match="has the settings of the other one"):
        train(out=tmp_path / "B", repeat=tmp_path / "A", preset="tiny", progress=False)


def test_a_run_without_a_deadline_is_repeated_too(tmp_path, tiny_file, short_data, computed):
    run = train(short_data, out=tmp_path / "A", config=tiny_file, progress=False)
    again = train(out=tmp_path / "B", repeat=run.path, progress=False)
    assert computed(again.path) == computed(run.path)


def test_too_little_time_is_refused_with_what_it_takes(tmp_path, tiny_file, short_data, monkeypatch):
    monkeypatch.setattr(Trainer, "seconds_to_evaluate", lambda self, count: 33.0)
    with pytest.raises(ConfigError, match=r"`minutes` = 0\.5 is too little: .* take about 0\.5[5-9] minutes here"):
        train(short_data, out=tmp_path / "R", config=tiny_file, minutes=0.5, progress=False)
    assert not (tmp_path / "R").exists()


def test_a_run_that_never_left_its_warm_up_says_so(tmp_path, tiny_file, short_data, clock, metric_rows):
    """A run of a single update ended without a word."""
    settings = ["train.warmup_steps=90000"]
    run = train(short_data, out=tmp_path / "R", config=tiny_file, minutes=0.2, settings=settings, progress=False)
    assert metric_rows(run.path, "note")[-1]["text"].startswith("all ")
    assert "updates lay in the warm-up of 90000: allow more minutes" in metric_rows(run.path, "note")[-1]["text"]


def test_a_limit_of_the_users_own_that_does_not_hold_is_noted(tmp_path, tiny_file, short_data):
    """`train.max_steps=20` on a preset with `max_epochs` gave ten updates without a word."""
    told = []
    settings = ["train.max_epochs=0.2", "data.rows=padded", "train.max_steps=20"]
    train(short_data, out=tmp_path / "R", config=tiny_file, settings=settings, progress=told.append)
    notes = [row.text for row in told if row.kind == "note"]
    assert "train.max_epochs = 0.2 ends the run after 4 updates, before train.max_steps does" in notes


def test_rows_tell_of_the_updates_since_the_row_before(tmp_path, tiny_file, short_data, metric_rows):
    every = train(short_data, out=tmp_path / "A", config=tiny_file, progress=False)
    settings = ["train.log_interval=4", "train.eval_interval=11", "train.checkpoint_interval=11", "train.ema=none"]
    fourth = train(short_data, out=tmp_path / "B", config=tiny_file, settings=settings, progress=False)
    updates, told = metric_rows(every.path, "train"), metric_rows(fourth.path, "train")
    assert [row["step"] for row in told] == [4, 7, 8, 11]  # a sample at 7, the end at 11
    tokens = [
        after["tokens"] - before for after, before in zip(updates, [0, *(r["tokens"] for r in updates)], strict=False)
    ]
    for row, steps in zip(told, [(1, 4), (5, 7), (8, 8), (9, 11)], strict=True):
        part = range(steps[0] - 1, steps[1])
        mean = sum(updates[i]["loss"] * tokens[i] for i in part) / sum(tokens[i] for i in part)
        assert row["loss"] == pytest.approx(mean, rel=1e-9)
        for name in ("tokens", "learning_rate", "grad_norm", "epoch"):
            assert row[name] == updates[steps[1] - 1][name]
