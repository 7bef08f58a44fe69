"""The very same run: interrupted and resumed, it ends with the same bits as one that was not."""

import json
import shutil
import signal
from pathlib import Path

import pytest
import torch

from storyloom.config import load_config
from storyloom.data import Data, prepare
from storyloom.errors import CheckpointError, RunError
from storyloom.evaluation import evaluate
from storyloom.runs import Run, load_checkpoint, save_checkpoint
from storyloom.temporary import temporary_path
from storyloom.training import train
from storyloom.training.folder import MARK
from storyloom.training.interrupt import SIGNALS
from storyloom.training.trainer import Trainer

KINDS = [
    ["train.precision=fp32", "train.optimizer=adamw", "data.rows=packed"],
    ["train.precision=fp32", "train.optimizer=muon", "data.rows=padded", "train.ema=0.7"],
    ["train.precision=bf16", "train.optimizer=muon", "data.rows=packed"],
    ["train.precision=bf16", "train.optimizer=adamw", "data.rows=padded", "train.patience=2"],
    ["train.precision=fp16", "train.optimizer=adam", "data.rows=packed", "train.ema=0.9"],
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(setting.partition("=")[2] for setting in kind))
def test_a_run_that_dies_again_and_again_ends_with_the_same_bits(
    tmp_path, tiny_file, short_data, computed, dying_at, kind
):
    settings = [
        *kind,
        "model.dropout=0.1",
        "train.grad_accum_steps=2",
        "train.max_steps=13",
        "train.sample_interval=3",
        "train.checkpoint_interval=3",
    ]
    whole = train(short_data, out=tmp_path / "A", config=tiny_file, settings=settings, progress=False)
    options = {"out": tmp_path / "B", "config": tiny_file, "settings": settings, "progress": False}
    # before the first checkpoint, twice in one interval, just behind a checkpoint, at the last update
    for n, step in enumerate([1, 4, 4, 6, 9, 12]):
        with dying_at(step):
            train(short_data, **options, resume=n > 0)
    again = train(out=tmp_path / "B", resume=True, progress=False)
    assert computed(again.path) == computed(whole.path)
    assert again.config == whole.config


@pytest.mark.parametrize("lost", ["random.cpu", "optimizer.blocks.0.attn.qkv.weight.exp_avg"])
def test_other_bits_would_be_seen(tmp_path, tiny_file, short_data, monkeypatch, computed, dying_at, lost):
    """The comparison above can fail: a state that is not restored gives another run."""
    settings = ["model.dropout=0.1", "train.max_steps=7"]
    whole = train(short_data, out=tmp_path / "A", config=tiny_file, settings=settings, progress=False)
    with dying_at(4):
        train(short_data, out=tmp_path / "B", config=tiny_file, settings=settings, progress=False)
    kept = load_checkpoint(tmp_path / "B" / "checkpoints" / "last")
    other = torch.Generator().manual_seed(5).get_state() if lost == "random.cpu" else kept.tensors[lost] * 2
    kept.tensors[lost].copy_(other)
    save_checkpoint(tmp_path / "B" / "checkpoints" / "last", kept)
    again = train(out=tmp_path / "B", resume=True, progress=False)
    assert computed(again.path) != computed(whole.path)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_saves_last_and_the_run_goes_on(tmp_path, tiny_file, short_data, monkeypatch, computed, number):
    settings = ["model.dropout=0.1"]
    whole = train(short_data, out=tmp_path / "A", config=tiny_file, settings=settings, progress=False)
    update = Trainer.update

    def signalled(self: Trainer):
        if self.step == 6:
            signal.raise_signal(number)
        return update(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "update", signalled)
        with pytest.raises(KeyboardInterrupt):
            train(short_data, out=tmp_path / "B", config=tiny_file, settings=settings, progress=False)
    assert load_checkpoint(tmp_path / "B" / "checkpoints" / "last").state["step"] == 7  # no multiple of the interval
    again = train(out=tmp_path / "B", resume=True, progress=False)
    assert computed(again.path) == computed(whole.path)


def test_updates_that_no_row_told_of_are_told_of_later(tmp_path, tiny_file, short_data, monkeypatch, computed):
    """Ctrl-C between two rows of `log_interval`, and the updates before it were in no row."""
    settings = ["train.log_interval=4", "train.eval_interval=11", "train.checkpoint_interval=11"]
    whole = train(short_data, out=tmp_path / "A", config=tiny_file, settings=settings, progress=False)
    update = Trainer.update

    def signalled(self: Trainer):
        if self.step == 5:
            signal.raise_signal(signal.SIGINT)
        return update(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "update", signalled)
        with pytest.raises(KeyboardInterrupt):
            train(short_data, out=tmp_path / "B", config=tiny_file, settings=settings, progress=False)
    again = train(out=tmp_path / "B", resume=True, progress=False)
    assert computed(again.path) == computed(whole.path)


@pytest.mark.parametrize("during", ["evaluate", "sample"])
def test_a_signal_during_an_evaluation_saves_last(tmp_path, tiny_file, short_data, monkeypatch, during):
    """Ctrl-C while the model was evaluated or told a sample stopped the run without saving it."""
    original = getattr(Trainer, during)

    def signalled(self: Trainer):
        signal.raise_signal(signal.SIGINT)
        return original(self)

    monkeypatch.setattr(Trainer, during, signalled)
    settings = ["train.eval_interval=5", "train.sample_interval=5", "train.checkpoint_interval=100"]
    with pytest.raises(KeyboardInterrupt):
        train(short_data, out=tmp_path / "R", config=tiny_file, settings=settings, progress=False)
    assert load_checkpoint(tmp_path / "R" / "checkpoints" / "last").state["step"] == 5


def test_a_signal_at_the_last_update_lets_the_run_finish(tmp_path, tiny_file, short_data, monkeypatch, metric_rows):
    update = Trainer.update

    def signalled(self: Trainer):
        if self.step == 10:
            signal.raise_signal(signal.SIGINT)
        return update(self)

    monkeypatch.setattr(Trainer, "update", signalled)
    run = train(short_data, out=tmp_path / "R", config=tiny_file, progress=False)
    assert len(metric_rows(run.path, "final")) == 1


def test_a_run_without_a_checkpoint_starts_at_step_0(tmp_path, tiny_file, short_data, computed, metric_rows, dying_at):
    whole = train(short_data, out=tmp_path / "A", config=tiny_file, progress=False)
    with dying_at(0):
        train(short_data, out=tmp_path / "B", config=tiny_file, progress=False)
    assert (tmp_path / "B" / "config.toml").is_file()
    again = train(out=tmp_path / "B", resume=True, progress=False)
    assert computed(again.path) == computed(whole.path)
    assert [row["step"] for row in metric_rows(again.path, "start")][-1] == 0


HALF = temporary_path(Path("config.toml"), "tmp").name


@pytest.mark.parametrize("left", [None, [], ["begun"], ["begun", "tokenizer.json"], ["begun", HALF]], ids=range(5))
def test_a_start_that_died_before_its_configuration_begins_anew(tmp_path, tiny_file, short_data, metric_rows, left):
    if left is not None:
        (tmp_path / "R").mkdir()
        for name in left:
            (tmp_path / "R" / name).write_bytes(MARK if name == "begun" else b"half")
    with pytest.raises(RunError, match="there is no run at"):
        train(out=tmp_path / "R", resume=True, progress=False)
    run = train(short_data, out=tmp_path / "R", config=tiny_file, resume=True, progress=False)
    assert len(metric_rows(run.path, "train")) == 11
    assert {path.name for path in run.path.iterdir()} == {
        "config.toml",
        "tokenizer.json",
        "metrics.jsonl",
        "samples.jsonl",
        "checkpoints",
    }


@pytest.mark.parametrize("name", ["data", "data.partial", "checkpoints", "tokenizer.json"])
def test_a_folder_of_somebodys_own_is_left_alone(tmp_path, tiny_file, short_data, name):
    """`--resume` took a folder with these names for a dead start of its own, and removed `data` with all it held."""
    own = tmp_path / "project" / name / "last.txt"
    own.parent.mkdir(parents=True)
    shutil.copy(short_data.path.parent / "a.txt", own)
    content = own.read_bytes()
    (tmp_path / "project" / "begun").touch()  # nor by this name is it a start of ours
    for data in (own, short_data):
        with pytest.raises(RunError, match="project exists already: choose another `out`, or remove it first"):
            train(data, out=tmp_path / "project", config=tiny_file, resume=True, progress=False)
    assert own.read_bytes() == content
    assert {path.name for path in own.parents[1].iterdir()} == {name, "begun"}


def everything(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


def test_a_finished_run_says_so_and_changes_nothing(tmp_path, tiny_file, short_data, capsys):
    run = train(short_data, out=tmp_path / "R", config=tiny_file, progress=False)
    before = everything(run.path)
    assert train(out=run.path, resume=True).path == run.path
    assert "is finished already: nothing to resume" in capsys.readouterr().err
    assert everything(run.path) == before


@pytest.mark.parametrize("name", ["metrics.jsonl", "samples.jsonl"])
def test_a_finished_run_without_its_rows_is_refused(tmp_path, tiny_file, short_data, name):
    """It was evaluated again, and its rows began with that evaluation."""
    run = train(short_data, out=tmp_path / "R", config=tiny_file, progress=False)
    (run.path / name).unlink()
    with pytest.raises(RunError, match=rf"{name} is missing: put it back, or start a new run"):
        train(out=run.path, resume=True, progress=False)
    assert not (run.path / name).exists()


def test_a_run_knows_its_figures_once_it_is_finished(tmp_path, tiny_file, short_data, dying_at):
    with dying_at(5):
        train(short_data, out=tmp_path / "R", config=tiny_file, progress=False)
    assert Run(tmp_path / "R").figures is None
    figures = train(out=tmp_path / "R", resume=True, progress=False).figures
    assert figures is not None
    assert figures.as_evaluated() == evaluate(tmp_path / "R")
    assert figures.step == 11


def test_a_run_that_died_behind_its_last_update_is_evaluated(tmp_path, tiny_file, short_data, computed, metric_rows):
    whole = train(short_data, out=tmp_path / "A", config=tiny_file, progress=False)
    shutil.copytree(whole.path, tmp_path / "B")
    lines = (tmp_path / "B" / "metrics.jsonl").read_text().split("\n")
    assert json.loads(lines[-2])["kind"] == "final"
    (tmp_path / "B" / "metrics.jsonl").write_text("\n".join([*lines[:-2], lines[-2][:30]]))  # torn
    checkpoints = tmp_path / "B" / "checkpoints"
    (checkpoints / "last").rename(
        temporary_path(checkpoints / "last", "new")
    )  # and in its last save, which is not made again
    again = train(out=tmp_path / "B", resume=True, progress=False)
    assert {path.name for path in checkpoints.iterdir()} == {"best", "last"}
    assert computed(again.path) == computed(whole.path)
    assert len(metric_rows(again.path, "final")) == 1


def test_a_damaged_checkpoint_is_refused_and_kept(tmp_path, tiny_file, short_data, dying_at):
    with dying_at(5):
        train(short_data, out=tmp_path / "R", config=tiny_file, progress=False)
    weights = tmp_path / "R" / "checkpoints" / "last" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        train(out=tmp_path / "R", resume=True, progress=False)
    weights.write_bytes(content)
    train(out=tmp_path / "R", resume=True, progress=False)


@pytest.fixture(scope="module")
def begun(tmp_path_factory, short_data, dying_at) -> Path:
    """A run of `--config` and two settings that died at step 5; to be copied."""
    folder = tmp_path_factory.mktemp("begun")
    (folder / "tiny.toml").write_text(
        "[model]\nn_layer = 1\nn_head = 2\nn_embd = 32\nblock_size = 37\n"
        "[train]\nbatch_size = 3\nprecision = 'auto'\nthreads = 1\ncheckpoint_interval = 2\neval_stories = 3\n"
    )
    with dying_at(5):
        train(short_data, out=folder / "R", config=folder / "tiny.toml", settings=SETTINGS, progress=False)
    return folder


SETTINGS = ["train.max_steps=19", "train.max_tokens=1000", "data.vocab_size=499", "train.precision=auto"]  # 9 steps


@pytest.fixture
def resumed(begun, tmp_path):
    """Resume a copy of that run with some options."""
    shutil.copytree(begun / "R", tmp_path / "R")

    def resume(data=None, **options) -> Run:
        return train(data, out=tmp_path / "R", resume=True, progress=False, **options)

    return resume


def test_the_command_repeated_resumes(resumed, begun, short_data):
    """`--set train.precision=auto`, or a limit that another limit undercut, was refused when it was repeated."""
    run = resumed(short_data, config=begun / "tiny.toml", settings=SETTINGS)
    assert run.config.train.max_steps == 9


@pytest.mark.parametrize(
    "settings", [["train.max_steps=9"], ["train.batch_size=3"], ["model.norm=rmsnorm"], ["train.max_tokens=1_000"]]
)
def test_a_setting_that_equals_the_stored_one_is_accepted(resumed, settings):
    assert resumed(settings=settings).config.train.max_steps == 9


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"preset": "tiny"}, "without preset, not with tiny"),
        ({"minutes": 7}, "without minutes, not with 7"),
        ({"settings": ["train.seed=3"]}, "with train.seed = 1337, not 3"),
        ({"settings": ["train.max_steps=20"]}, "with train.max_steps = 9, not 20"),
        ({"settings": ["train.max_steps=none"]}, "with train.max_steps = 9, not none"),
        ({"settings": ["train.ema=0.9"]}, "without train.ema, not with 0.9"),
        ({"settings": ["train.batch_size=3", "model.n_layer=2"]}, "with model.n_layer = 1, not 2"),
        ({"settings": ["data.rows=padded"]}, "with data.rows = packed, not padded"),
    ],
)
def test_an_option_that_differs_is_refused_with_what_is_stored(resumed, tmp_path, options, difference):
    """It said `another value` and `minutes = None`, which no user has ever written."""
    before = everything(tmp_path / "R")
    with pytest.raises(RunError) as caught:
        resumed(**options)
    assert f"was started {difference}: `resume` continues the very same run" in str(caught.value)
    assert everything(tmp_path / "R") == before


def test_of_a_setting_given_twice_the_last_is_the_stored_one(tmp_path, tiny_file, short_data, dying_at):
    """The first of the two was accepted by `--resume`, and then not used."""
    settings = ["train.seed=3", "train.seed=5"]
    with dying_at(5):
        train(short_data, out=tmp_path / "R", config=tiny_file, settings=settings, progress=False)
    with pytest.raises(RunError, match=r"was started with train\.seed = 5, not 3"):
        train(out=tmp_path / "R", settings=settings[:1], resume=True, progress=False)
    with dying_at(5):
        train(out=tmp_path / "R", settings=settings, resume=True, progress=False)
    assert train(out=tmp_path / "R", settings=settings[1:], resume=True, progress=False).config.train.seed == 5


def test_data_that_has_moved_is_named(tmp_path, tiny_file, short_data, dying_at):
    shutil.copytree(short_data.path, tmp_path / "D")
    with dying_at(5):
        train(tmp_path / "D", out=tmp_path / "R", config=tiny_file, progress=False)
    (tmp_path / "D").rename(tmp_path / "moved")
    with pytest.raises(RunError, match=r"the data of .*R is no longer at .*D: name where it is now as `data`"):
        train(out=tmp_path / "R", resume=True, progress=False)
    train(tmp_path / "moved", out=tmp_path / "R", resume=True, progress=False)


def test_another_configuration_file_is_refused(resumed, begun, tmp_path):
    (tmp_path / "same.toml").write_bytes((begun / "tiny.toml").read_bytes())
    (tmp_path / "other.toml").write_bytes((begun / "tiny.toml").read_bytes() + b"seed = 3\n")
    with pytest.raises(RunError, match="config_sha256"):
        resumed(config=tmp_path / "other.toml")
    assert resumed(config=tmp_path / "same.toml").config.train.max_steps == 9


def test_other_data_is_refused(resumed, tmp_path, short_data):
    (tmp_path / "a.txt").write_text("one\n<|endoftext|>\ntwo")
    (tmp_path / "v.txt").write_text("three")
    other = prepare(tmp_path / "a.txt", val=tmp_path / "v.txt", out=tmp_path / "D", vocab_size=257)
    with pytest.raises(RunError, match="is not the data that"):
        resumed(other)
    shutil.copytree(short_data.path, tmp_path / "copy")
    assert resumed(Data(tmp_path / "copy")).config.train.max_steps == 9  # the same content elsewhere will do


def test_none_survives_in_a_run(tmp_path, tiny_file, short_data, metric_rows):
    """`train.grad_clip=none` was lost in config.toml, so that the run clipped all the same."""
    settings = ["train.grad_clip=none", "train.max_steps=1"]
    run = train(short_data, out=tmp_path / "R", config=tiny_file, settings=settings, progress=False)
    assert run.config.train.grad_clip is None
    assert load_config(run.path / "config.toml")[0].train.grad_clip is None
