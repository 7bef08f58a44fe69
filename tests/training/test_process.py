"""What a training does to its process; and what it would do, without doing it."""

import os
import random
import threading
from contextlib import suppress
from importlib import import_module

import numpy as np
import pytest
import torch

from storyloom.errors import ConfigError, DataError, RunError, StoryloomError, TrainingDiverged
from storyloom.training import dry_run, train
from storyloom.training.process import only_training


def state() -> list[object]:
    legacy = np.random.get_state()
    return [
        torch.get_rng_state().tolist(),
        random.getstate(),
        legacy[1].tolist(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_grad_enabled(),
    ]


@pytest.mark.parametrize("settings", [[], ["train.seed=7", "model.dropout=0.1"], ["train.learning_rate=1e38"]])
def test_a_training_leaves_its_process_as_it_found_it(tmp_path, tiny_file, short_data, settings):
    """It seeded the caller's generator, kept its own number of threads, and dropped whatever had been compiled."""
    torch.manual_seed(4)
    torch.set_num_threads(2)
    compiled_by_others = torch.compile(lambda x: x + 1, backend="eager")
    compiled_by_others(torch.ones(3))
    before = state()
    try:
        options = {"out": tmp_path / "R", "config": tiny_file, "progress": False}
        with suppress(TrainingDiverged):
            train(short_data, settings=[*settings, "train.threads=1", "train.warmup_steps=0"], **options)
        assert state() == before
        with torch._dynamo.config.patch(error_on_recompile=True):
            compiled_by_others(torch.ones(3))
    finally:
        torch.set_num_threads(1)


def test_an_error_of_the_listener_is_its_own(tmp_path, tiny_file, short_data):
    """It was reported as a full disk of the run's."""

    def listener(row):
        if row.kind == "train":
            raise OSError(28, "No space left on device", "/somewhere/else")

    with pytest.raises(OSError, match="/somewhere/else"):
        train(short_data, out=tmp_path / "R", config=tiny_file, progress=listener)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out": "a\0b"}, "no path has a character NUL"),
        ({"minutes": "1"}, "minutes is '1'"),
        ({"resume": "R"}, "resume is 'R'"),
        ({"progress": 5}, "progress is 5, of type int: give True or False or a function"),
        ({"minutes": 1e308}, r"train\.minutes = 1e\+308"),
    ],
)
def test_wrong_types_are_refused_in_one_line(tmp_path, tiny_file, short_data, options, message):
    with pytest.raises(StoryloomError, match=message):
        train(short_data, **{"out": tmp_path / "R", "config": tiny_file, **options})
    assert not (tmp_path / "R").exists()


def test_a_second_training_in_a_process_is_refused_in_one_line(tmp_path, tiny_file, short_data):
    """Both drew from PyTorch's one generator, and neither could be repeated."""
    complaints = []

    def begin_another(row):
        if row.kind == "train" and row.step == 3:
            other = threading.Thread(target=another)
            other.start()
            other.join()

    def another():
        try:
            train(short_data, out=tmp_path / "B", config=tiny_file, progress=False)
        except RunError as error:
            complaints.append(str(error))

    train(short_data, out=tmp_path / "A", config=tiny_file, progress=begin_another)
    assert complaints == ["a training is running in this process: wait for it, or train in another process"]
    assert not (tmp_path / "B").exists()
    with only_training():
        pass


def test_a_folder_of_texts_is_trained_on(tmp_path, tiny_file, short_data):
    """A folder that was no data folder was refused, though `prepare` takes it."""
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_bytes((short_data.path.parent / "a.txt").read_bytes())
    told = []
    settings = ["train.max_steps=1", "data.val_fraction=0.15"]
    run = train(tmp_path / "texts", out=tmp_path / "R", config=tiny_file, settings=settings, progress=told.append)
    assert run.data_folder == tmp_path / "R" / "data"
    assert any(row.kind == "note" and row.text.startswith("prepared in ") for row in told)


def test_a_run_whose_text_is_gone_is_resumed_by_the_command_that_began_it(tmp_path, tiny_file, short_data, dying_at):
    """The text was asked for, though the run has the data that were made of it."""
    text = tmp_path / "s.txt"
    text.write_bytes((short_data.path.parent / "a.txt").read_bytes())
    options = {"out": tmp_path / "R", "config": tiny_file, "settings": ["data.val_fraction=0.15"], "progress": False}
    with dying_at(5):
        train(text, **options)
    text.unlink()
    assert train(text, **options, resume=True).path == tmp_path / "R"


@pytest.mark.parametrize(
    ("options", "error", "part"),
    [
        ({"out": ""}, RunError, "out is empty: name the run folder"),
        ({"out": 3}, DataError, "out is 3, of type int"),
        ({"data": b"x"}, DataError, "data is b'x', of type bytes"),
        ({"data": ""}, RunError, "data is empty"),
        ({"config": ""}, RunError, "config is empty"),
        ({"init": ""}, RunError, "init is empty"),
        ({"preset": 3, "config": None}, ConfigError, "preset is 3, of type int"),
        ({"settings": [3]}, ConfigError, "settings is [3]: give texts such as model.n_layer=6"),
        ({"settings": "train.seed=3"}, ConfigError, "in a list"),
        ({"minutes": "3"}, ConfigError, "minutes is '3', of type str"),
        ({"minutes": True}, ConfigError, "minutes is True, of type bool"),
        ({"device": "gpu"}, ConfigError, "device"),
        ({"device": "cuda:7"}, ConfigError, "is not there: this machine has "),
    ],
)
def test_wrong_arguments_are_named(tmp_path, tiny_file, short_data, monkeypatch, options, error, part):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    given = {"data": short_data, "out": "R", "config": tiny_file, "progress": False, **options}
    with pytest.raises(error) as caught:
        train(given.pop("data"), **given)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


def test_a_dry_run_tells_what_a_training_would_do(tmp_path, tiny_file, short_data, monkeypatch, metric_rows):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(import_module("storyloom.training.dry_run"), "MEASURED_SECONDS", 0.1)
    before, files = state(), sorted(tmp_path.iterdir())
    plan = dry_run(short_data, config=tiny_file)
    assert state() == before
    assert sorted(tmp_path.iterdir()) == files
    run = train(short_data, out="R", config=tiny_file, progress=False)
    assert plan.config == run.config
    start, last = metric_rows(run.path, "start")[0], metric_rows(run.path, "train")[-1]
    for name in ("parameters", "device", "precision", "threads"):
        assert getattr(plan, name) == start[name]
    assert (plan.updates, plan.compile) == (last["step"], start["compiled"])
    assert plan.epochs == pytest.approx(last["epoch"], abs=0.05)
    on_disk = sum(path.stat().st_size for path in (run.path / "checkpoints").rglob("*.safetensors"))
    assert plan.checkpoint_bytes == pytest.approx(on_disk, rel=0.1)
    assert plan.memory_bytes is None or plan.memory_bytes > 50e6
    assert plan.minutes * 60 > plan.updates * plan.seconds_per_update
    timed = dry_run(short_data, config=tiny_file, minutes=5)
    assert timed.updates * timed.seconds_per_update <= 300
    assert timed.updates > plan.updates


def test_a_run_stays_where_it_began_when_the_working_directory_changes(tmp_path, tiny_file, short_data, monkeypatch):
    """Its checkpoints were written below the new one, over those of another run of that name."""
    for name in "AB":
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "A")

    def listener(row):
        os.chdir(tmp_path / "B")

    run = train(short_data, out="run", config=tiny_file, progress=listener)
    assert list((tmp_path / "B").iterdir()) == []
    assert run.has_checkpoint("best")
    assert run.path == tmp_path / "A" / "run"
