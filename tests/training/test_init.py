"""Starting from another run's weights."""

import shutil

import pytest
import torch

from storyloom.errors import CheckpointError, RunError
from storyloom.evaluation import evaluate
from storyloom.runs import Run, load_checkpoint
from storyloom.training import train
from storyloom.training.folder import MARK
from storyloom.training.trainer import Trainer


@pytest.fixture(scope="module")
def first(tmp_path_factory, short_data) -> Run:
    """A run whose model is not the tiny configuration's; to be read only."""
    folder = tmp_path_factory.mktemp("first")
    (folder / "a.toml").write_text(
        "[model]\nn_layer = 1\nn_head = 3\nn_embd = 42\nblock_size = 29\nnorm = 'layernorm'\n"
        "[train]\nmax_steps = 23\nbatch_size = 5\nlearning_rate = 0.01\neval_stories = 5\n"
        "precision = 'fp32'\nthreads = 1\ncompile = false\n"
    )
    return train(short_data, out=folder / "R", config=folder / "a.toml", progress=False)


def test_the_first_weights_are_the_best_ones_of_that_run(
    tmp_path, tiny_file, short_data, first, monkeypatch, metric_rows
):
    seen = []
    update = Trainer.update

    def noting(self: Trainer):
        seen.append({name: tensor.clone() for name, tensor in self.model.state_dict().items()})
        return update(self)

    monkeypatch.setattr(Trainer, "update", noting)
    run = train(short_data, out=tmp_path / "R", config=tiny_file, init=first.path, progress=False)
    best = first.load_model("best").state_dict()
    assert all(torch.equal(tensor, best[name]) for name, tensor in seen[0].items())
    assert run.config.model == first.config.model
    assert run.config.train.batch_size == 3  # training is the new configuration's
    assert metric_rows(run.path, "train")[0]["loss"] < metric_rows(first.path, "train")[0]["loss"] - 1
    assert evaluate(run)["nats_per_token"] < evaluate(first)["nats_per_token"] + 0.1


def test_a_run_without_best_weights_is_refused_before_anything_is_made(tmp_path, tiny_file, short_data, first):
    origin = shutil.copytree(first.path, tmp_path / "origin")
    shutil.rmtree(origin / "checkpoints" / "best")
    with pytest.raises(RunError, match="has no checkpoint `best` to start from: let it train until it has one"):
        train(short_data, out=tmp_path / "R", config=tiny_file, init=origin, progress=False)
    assert not (tmp_path / "R").exists()


@pytest.mark.parametrize("settings", [[], ["train.ema=0.9", "model.dropout=0.1"]])
@pytest.mark.parametrize("step", [0, 1, 5])
def test_it_is_resumed_to_the_same_bits_without_that_run(
    tmp_path, tiny_file, short_data, first, computed, dying_at, settings, step
):
    origin = tmp_path / "origin"
    shutil.copytree(first.path, origin)
    options = {"config": tiny_file, "settings": settings, "init": origin, "progress": False}
    whole = train(short_data, out=tmp_path / "A", **options)
    with dying_at(step):
        train(short_data, out=tmp_path / "B", **options)
    shutil.rmtree(origin)
    again = train(out=tmp_path / "B", resume=True, progress=False)
    assert computed(again.path) == computed(whole.path)


def test_the_average_begins_with_those_weights_too(tmp_path, tiny_file, short_data, first, dying_at):
    with dying_at(0):
        train(
            short_data,
            out=tmp_path / "R",
            config=tiny_file,
            settings=["train.ema=0.9"],
            init=first.path,
            progress=False,
        )
    start = load_checkpoint(tmp_path / "R" / "checkpoints" / "last")
    best = load_checkpoint(first.checkpoint_folder("best")).weights
    assert start.weights.keys() == best.keys()
    for name, weight in best.items():
        assert torch.equal(start.weights[name], weight)
        assert torch.equal(start.tensors[f"raw.{name}"], weight)


def test_the_weights_of_a_start_that_died_are_not_taken(tmp_path, tiny_file, short_data, first, computed):
    """A start with `--init`, killed before `config.toml`, left its weights to the next one, which had not asked."""
    whole = train(short_data, out=tmp_path / "A", config=tiny_file, progress=False)
    shutil.copytree(first.path / "checkpoints", tmp_path / "B" / "checkpoints")
    (tmp_path / "B" / "begun").write_bytes(MARK)
    again = train(short_data, out=tmp_path / "B", config=tiny_file, resume=True, progress=False)
    assert computed(again.path) == computed(whole.path)


def test_another_beginning_is_refused_when_resuming(tmp_path, tiny_file, short_data, first, dying_at):
    with dying_at(5):
        train(short_data, out=tmp_path / "R", config=tiny_file, progress=False)
    with pytest.raises(RunError, match="was started without init, not with"):
        train(out=tmp_path / "R", resume=True, init=first.path, progress=False)


def test_a_model_of_another_shape_is_refused(tmp_path, tiny_file, short_data, first):
    settings = ["model.n_layer=2"]
    with pytest.raises(CheckpointError, match="do not fit their settings"):
        train(short_data, out=tmp_path / "R", config=tiny_file, settings=settings, init=first.path, progress=False)
    assert not (tmp_path / "R").exists()


def test_data_of_another_tokenizer_is_refused(tmp_path, tiny_file, story_data, first):
    with pytest.raises(RunError, match=r"another tokenizer than .*: prepare it with `tokenizer` .*tokenizer\.json"):
        train(story_data, out=tmp_path / "R", config=tiny_file, init=first.path, progress=False)
    assert not (tmp_path / "R").exists()


def test_a_run_that_is_not_there_is_refused(tmp_path, tiny_file, short_data):
    with pytest.raises(RunError, match="does not exist"):
        train(short_data, out=tmp_path / "R", config=tiny_file, init=tmp_path / "none", progress=False)


def test_damaged_weights_are_not_said_to_have_a_substitute(tmp_path, tiny_file, short_data, first):
    """It said to use the other of the checkpoints last and best: no option of a training takes one."""
    run = shutil.copytree(first.path, tmp_path / "copy")
    weights = run / "checkpoints" / "best" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"best/model\.safetensors is damaged .*: put it back") as error:
        train(short_data, out=tmp_path / "R", config=tiny_file, init=run, progress=False)
    assert "use the other" not in str(error.value)
    assert not (tmp_path / "R").exists()
