"""Whole trainings: what a run folder holds, which checkpoint is best, what stops a run."""

import json
import math
import os
import shutil
from importlib import import_module

import pytest
import torch

from storyloom.config import load_config
from storyloom.errors import ConfigError, DataError, RunError, TrainingDiverged
from storyloom.evaluation import evaluate
from storyloom.files import sole_writer
from storyloom.runs import Run, load_checkpoint
from storyloom.runs.rows import NoteRow, SampleRow, as_line
from storyloom.training import train
from storyloom.training.trainer import Trainer

module = import_module("storyloom.training.train")  # the package has the function under the same name


@pytest.fixture(scope="module")
def finished(tmp_path_factory, short_data):
    """A finished run of eleven updates; read only."""
    config = tmp_path_factory.mktemp("config") / "tiny.toml"
    config.write_text(TINY, encoding="utf-8")
    return train(short_data, out=tmp_path_factory.mktemp("finished") / "R", config=config, progress=False)


TINY = """
[data]
vocab_size = 283
[model]
n_layer = 2
n_head = 2
n_embd = 32
block_size = 37
[train]
max_steps = 11
batch_size = 3
warmup_steps = 2
precision = "fp32"
threads = 1
eval_interval = 5
eval_stories = 3
sample_interval = 7
checkpoint_interval = 2
"""


def test_the_folder_of_a_finished_run(finished, short_data):
    names = {path.name for path in finished.path.iterdir()}
    assert names == {"config.toml", "tokenizer.json", "metrics.jsonl", "samples.jsonl", "checkpoints"}
    assert {path.name for path in (finished.path / "checkpoints").iterdir()} == {"last", "best"}
    opened = Run(finished.path)
    assert opened.config == finished.config
    assert opened.config.train.max_steps == 11
    assert opened.config.model.vocab_size == short_data.tokenizer.vocab_size
    assert opened.tokenizer.fingerprint == short_data.tokenizer.fingerprint == opened.origin["tokenizer"]
    assert opened.origin["data_fingerprint"] == short_data.fingerprint
    assert load_checkpoint(finished.path / "checkpoints" / "last").state["step"] == 11


def test_the_rows_of_a_finished_run(finished, metric_rows, short_data):
    found = metric_rows(finished.path)
    assert [(row["kind"], row["step"]) for row in found if row["kind"] != "train"] == [
        ("start", 0),
        ("eval", 5),
        ("eval", 10),
        ("eval", 11),
        ("final", 11),
    ]
    updates = metric_rows(finished.path, "train")
    assert [row["step"] for row in updates] == list(range(1, 12))
    keys = {"kind", "step", "tokens", "epoch", "loss", "bits_per_byte", "learning_rate", "grad_norm"}
    assert all(row.keys() == keys | {"tokens_per_second", "seconds", "elapsed"} for row in updates)
    figures = {"nats_per_token", "perplexity", "bits_per_byte", "bits_per_byte_stderr", "tokens", "bytes", "stories"}
    assert all(row.keys() == figures | {"kind", "step", "is_best"} for row in metric_rows(finished.path, "eval"))
    assert metric_rows(finished.path, "final")[0].keys() >= figures | {
        "comparable",
        "text_sha256",
        "minutes",
        "checkpoint",
    }
    samples = metric_rows(finished.path, name="samples.jsonl")
    assert [(row["kind"], row["step"], type(row["story"])) for row in samples] == [("sample", 7, str)]
    manifest = short_data.manifest.train
    per_byte = manifest.tokens / manifest.bytes / math.log(2)
    for row in updates:
        assert row["bits_per_byte"] == pytest.approx(row["loss"] * per_byte)
    assert [row["learning_rate"] for row in updates[:3]] == pytest.approx([0.0005, 0.001, 0.001])
    assert [row["tokens"] for row in updates] == sorted({row["tokens"] for row in updates})
    assert updates[-1]["loss"] < updates[0]["loss"]


def test_the_final_figures_are_those_of_evaluate(finished, metric_rows):
    figures = evaluate(finished)
    final = metric_rows(finished.path, "final")[0]
    assert {name: final[name] for name in figures} == figures
    assert figures["stories"] > 3


def test_best_is_the_lowest_validation_loss_not_the_latest(tmp_path, tiny_file, short_data, monkeypatch, metric_rows):
    losses, weights = iter([5.0, 3.0, 4.0, 3.5, 3.0]), []
    original = Trainer.evaluate

    def scripted(self: Trainer):
        weights.append({name: tensor.clone() for name, tensor in self.model.state_dict().items()})
        return original(self) | {"nats_per_token": next(losses)}

    monkeypatch.setattr(Trainer, "evaluate", scripted)
    settings = ["train.eval_interval=3", "train.max_steps=13"]
    run = train(short_data, out=tmp_path / "R", config=tiny_file, settings=settings, progress=False)
    assert len(weights) == 5
    assert [row["is_best"] for row in metric_rows(run.path, "eval")] == [True, True, False, False, False]
    best, last = run.load_model("best").state_dict(), run.load_model("last").state_dict()
    assert all(torch.equal(best[name], weights[1][name]) for name in best)
    assert all(torch.equal(last[name], weights[4][name]) for name in last)
    assert load_checkpoint(run.checkpoint_folder("last")).state["best"] == 3.0


@pytest.mark.parametrize(
    "settings", [["train.learning_rate=1e30"], ["train.learning_rate=1e38", "train.eval_interval=1"]]
)
def test_a_huge_learning_rate_stops_with_a_report(tmp_path, tiny_file, short_data, settings):
    settings = [*settings, "train.warmup_steps=0", "train.grad_clip=none", "train.sample_interval=1"]
    with pytest.raises(TrainingDiverged, match=r"training diverged at step \d+.*lower train\.learning_rate") as caught:
        train(short_data, out=tmp_path / "R", config=tiny_file, settings=settings, progress=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("interval", ["checkpoint_interval", "eval_interval", "sample_interval"])
def test_spoilt_weights_are_neither_saved_nor_sampled(
    tmp_path, tiny_file, short_data, monkeypatch, metric_rows, interval
):
    """An update may spoil weights while its own loss is finite: they replaced `last`, and a sample crashed."""
    update = Trainer.update

    def spoiling(self: Trainer):
        result = update(self)
        if self.step == 6:
            with torch.no_grad():
                self.model.blocks[0].attn.out.weight[3, 5] = math.nan
        return result

    monkeypatch.setattr(Trainer, "update", spoiling)
    settings = ["train.checkpoint_interval=5", "train.eval_interval=5", "train.sample_interval=100"]
    settings.append(f"train.{interval}=3")
    with pytest.raises(TrainingDiverged, match="training diverged at step 6: loss nan nats/token after the update"):
        train(short_data, out=tmp_path / "R", config=tiny_file, settings=settings, progress=False)
    run = Run(tmp_path / "R")
    assert load_checkpoint(run.checkpoint_folder("last")).state["step"] == 5  # the best so far
    for name in ("last", "best"):
        assert all(tensor.isfinite().all() for tensor in run.load_model(name).state_dict().values())
    assert [row["step"] for row in metric_rows(run.path, "train")] == list(range(1, 7))


def test_poisoned_training_keeps_the_last_good_checkpoint(tmp_path, tiny_file, short_data, monkeypatch):
    update = Trainer.update

    def poisoned(self: Trainer):
        if self.step == 7:
            with torch.no_grad():
                self.model.embedding.weight[11] = math.nan
                self.model.head.weight.fill_(math.nan)
        return update(self)

    monkeypatch.setattr(Trainer, "update", poisoned)
    with pytest.raises(TrainingDiverged, match="diverged at step 8: loss nan"):
        train(short_data, out=tmp_path / "R", config=tiny_file, progress=False)
    monkeypatch.undo()
    run = Run(tmp_path / "R")
    assert load_checkpoint(run.checkpoint_folder("last")).state["step"] == 6
    assert run.load_model("best") is not None
    assert train(out=run.path, resume=True, progress=False).path == run.path  # whole again without the poison


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        (["train.max_steps=3"], 3),
        (["train.max_steps=none", "train.max_tokens=450"], 4),  # 3 rows of 37 tokens each
        (["train.max_steps=5", "train.max_tokens=450"], 4),
        (["train.max_steps=none", "train.max_epochs=0.2", "data.rows=padded"], 4),  # of 55 to 60 stories
    ],
)
def test_limits_become_max_steps(tmp_path, tiny_file, short_data, settings, steps):
    run = train(short_data, out=tmp_path / "R", config=tiny_file, settings=settings, progress=False)
    assert load_config(run.path / "config.toml")[0].train.max_steps == steps
    assert load_checkpoint(run.checkpoint_folder("last")).state["step"] == steps


def test_no_limit_is_refused_and_leaves_nothing(tmp_path, tiny_file, short_data):
    with pytest.raises(ConfigError, match="training has no end"):
        train(short_data, out=tmp_path / "R", config=tiny_file, settings=["train.max_steps=none"], progress=False)
    assert not (tmp_path / "R").exists()


@pytest.mark.parametrize(
    ("options", "error", "part"),
    [
        ({"preset": "tiny", "config": "tiny.toml"}, ConfigError, "`preset` and `config` contradict"),
        ({"preset": "labtop"}, ConfigError, "did you mean 'laptop'"),
        ({"config": "no/such.toml"}, ConfigError, "no configuration file at no/such.toml"),
        ({"preset": "tiny", "minutes": 0}, ConfigError, "`minutes` = 0 must be above 0"),
        ({"preset": "tiny", "minutes": -3.0}, ConfigError, "`minutes` = -3"),
        ({"preset": "tiny", "minutes": math.inf}, ConfigError, "`minutes` = inf"),
        ({"preset": "tiny", "settings": ["train.sed=3"]}, ConfigError, "did you mean 'seed'"),
        (
            {"preset": "tiny", "settings": ["model.vocab_size=89"]},
            ConfigError,
            "model.vocab_size = 89, but the tokenizer",
        ),
        ({"preset": "tiny", "settings": ["model.block_size=60000"]}, DataError, "too small for one row"),
    ],
)
def test_what_cannot_be_trained_leaves_nothing(tmp_path, short_data, options, error, part):
    with pytest.raises(error) as caught:
        train(short_data, out=tmp_path / "R", progress=False, **options)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "R").exists()


def test_data_made_otherwise_is_noted_and_holds(tmp_path, tiny_file, short_data, capsys):
    run = train(short_data, out=tmp_path / "R", config=tiny_file, settings=["train.max_steps=1"])
    assert "data.vocab_size = 307" in capsys.readouterr().err
    assert run.config.data.vocab_size == run.config.model.vocab_size == 283


def test_settings_of_the_users_own_that_the_data_contradicts_are_noted(tmp_path, tiny_file, short_data, capsys):
    """`--set data.clean=true` was overridden by the data without a word."""
    settings = ["train.max_steps=3", "data.clean=true", "data.val_fraction=0.15", "data.rows=padded"]
    run = train(short_data, out=tmp_path / "R", config=tiny_file, settings=settings)
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert len(notes) == 2
    assert "data.vocab_size = 307" in notes[0]
    assert "data.clean = True" in notes[1]
    assert (run.config.data.clean, run.config.data.rows) == (False, "padded")


def test_a_folder_that_is_there_is_refused_without_resume(tmp_path, tiny_file, short_data, finished):
    (tmp_path / "R").mkdir()
    (tmp_path / "R" / "mine").write_text("precious")
    for out in (tmp_path / "R", tiny_file, finished.path):
        before = sorted(path.name for path in out.iterdir()) if out.is_dir() else out.read_bytes()
        with pytest.raises(RunError, match="exists already: choose another `out`, continue it with `resume`"):
            train(short_data, out=out, config=tiny_file, progress=False)
        assert before == (sorted(path.name for path in out.iterdir()) if out.is_dir() else out.read_bytes())


@pytest.mark.skipif(os.name == "nt", reason="folders cannot be locked there")
def test_a_run_that_is_being_trained_is_left_alone(tmp_path, tiny_file, short_data, finished):
    run = shutil.copytree(finished.path, tmp_path / "R")
    begun = tmp_path / "B"
    begun.mkdir()
    for name in ("begun", "tokenizer.json"):
        (begun / name).touch()
    for folder in (run, begun):
        before = sorted(folder.rglob("*"))
        with sole_writer(folder), pytest.raises(RunError, match="is being trained already: wait for that process"):
            train(short_data, out=folder, config=tiny_file, resume=True, progress=False)
        assert sorted(folder.rglob("*")) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="file names are text here")
def test_data_whose_path_cannot_be_written_down_is_refused_before_anything_is_made(tmp_path, tiny_file, short_data):
    data = shutil.copytree(short_data.path, tmp_path / os.fsdecode(b"caf\xe9"))
    with pytest.raises(RunError, match="is not UTF-8, and a run cannot name it: rename it"):
        train(data, out=tmp_path / "R", config=tiny_file, progress=False)
    assert not (tmp_path / "R").exists()


def test_a_folder_that_is_no_run_is_never_trained_into(tmp_path, tiny_file, short_data):
    """With `resume` any folder without a config.toml was taken for a run that had not begun."""
    (tmp_path / "R").mkdir()
    (tmp_path / "R" / "mine").write_text("precious")
    with pytest.raises(RunError, match="exists already"):
        train(short_data, out=tmp_path / "R", config=tiny_file, resume=True, progress=False)
    assert [path.name for path in (tmp_path / "R").iterdir()] == ["mine"]


def test_state_is_plain_json_and_weights_are_safetensors(finished):
    for name in ("last", "best"):
        folder = finished.checkpoint_folder(name)
        json.loads((folder / "state.json").read_bytes())
        assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}


def test_the_live_line_goes_to_standard_error(tmp_path, tiny_file, short_data, capsys):
    train(short_data, out=tmp_path / "R", config=tiny_file)
    shown = capsys.readouterr()
    assert shown.out == ""
    for part in ("training 0.0", "nats/token", "best so far", "a sample:", "done in"):
        assert part in shown.err


def test_a_function_is_told_every_row_instead_of_the_live_line(tmp_path, tiny_file, short_data, capsys, metric_rows):
    heard = []
    run = train(short_data, out=tmp_path / "R", config=tiny_file, progress=heard.append)
    kept = [row for row in heard if not isinstance(row, NoteRow | SampleRow)]
    assert [json.loads(as_line(row)) for row in kept] == metric_rows(run.path)
    samples = [json.loads(as_line(row)) for row in heard if isinstance(row, SampleRow)]
    assert samples == metric_rows(run.path, name="samples.jsonl")
    assert [row.text[:27] for row in heard if isinstance(row, NoteRow)] == ["the configuration asks for "]
    assert capsys.readouterr() == ("", "")
