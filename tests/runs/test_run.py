"""A run folder, opened."""

import shutil

import pytest
import torch

from storyloom.config import Config, save_config
from storyloom.data.tokenization import BPETokenizer
from storyloom.errors import CheckpointError, ConfigError, RunError
from storyloom.files import write_json
from storyloom.model import GPT
from storyloom.runs import Run, load_checkpoint, save_checkpoint
from storyloom.runs.checkpoint import Checkpoint
from storyloom.runs.weights import load_weights, model_weights
from storyloom.temporary import temporary_path


def model_for(small_model, **changes) -> GPT:
    torch.manual_seed(changes.pop("seed", 3))
    return GPT(small_model.with_(vocab_size=271, **changes)).eval()


@pytest.fixture
def run(tmp_path, small_model) -> Run:
    """A run with the checkpoint `best` only."""
    folder = tmp_path / "R"
    folder.mkdir()
    tokenizer = BPETokenizer.train(["the cat sat on the mat and the rat ate the oats at the gate"] * 3, 271)
    tokenizer.save(folder / "tokenizer.json")
    model = model_for(small_model)
    save_checkpoint(folder / "checkpoints" / "best", Checkpoint(model_weights(model)))
    config = Config(model={**small_model.model_dump(), "vocab_size": tokenizer.vocab_size})
    save_config(folder / "config.toml", config, {"tokenizer": tokenizer.fingerprint, "data": "D"})
    return Run(folder)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="nothing does not exist"):
        Run(tmp_path / "nothing")
    with pytest.raises(RunError, match="is no run folder"):
        Run(tmp_path)


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_is_loaded_as_it_was_saved(run, small_model, tied):
    model = model_for(small_model, tie_embeddings=tied, seed=5)
    config = run.config.with_(model=model.config.model_dump())
    save_config(run.path / "config.toml", config, run.origin)
    save_checkpoint(run.checkpoint_folder("last"), Checkpoint(model_weights(model)))
    assert ("head.weight" in load_checkpoint(run.checkpoint_folder("last")).weights) is not tied
    before = torch.get_rng_state()
    loaded = Run(run.path).load_model("last")
    assert torch.equal(torch.get_rng_state(), before)  # loading leaves the caller's dice alone
    assert not loaded.training
    ids = torch.tensor([[3, 7, 11, 2, 5]])
    device = loaded.embedding.weight.device
    torch.testing.assert_close(loaded(ids.to(device)).cpu(), model(ids))
    assert (loaded.head.weight is loaded.embedding.weight) is tied


def test_loading_takes_no_random_numbers_of_a_training_in_another_thread(run, monkeypatch):
    """They were drawn and put back: whatever the other thread drew meanwhile was drawn once more."""
    drawn = []
    for name in ("normal_", "uniform_"):
        real = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda *args, real=real, **kwargs: drawn.append(real(*args, **kwargs)))
    monkeypatch.setattr(torch, "set_rng_state", drawn.append)
    run.load_model("best", device="cpu")
    assert drawn == []
    torch.nn.Linear(2, 3)
    assert drawn  # elsewhere they are noticed


@pytest.mark.parametrize("wrong", [7, None, b"R", ["R"]])
def test_what_is_no_path_is_refused(wrong):
    with pytest.raises(RunError, match=r"a run is .*: give the path of its folder"):
        Run(wrong)


def test_checkpoints_are_asked_for_by_name(run):
    assert run.has_checkpoint("best")
    assert not run.has_checkpoint("last")
    with pytest.raises(CheckpointError, match="has no checkpoint 'last' yet"):
        run.load_model("last")
    with pytest.raises(ConfigError, match="unknown checkpoint 'bset'"):
        run.load_model("bset")


def test_a_checkpoint_that_was_being_replaced_is_found(run):
    best = run.checkpoint_folder("best")
    best.rename(temporary_path(best, "old"))
    assert run.has_checkpoint("best")
    run.load_model()


def test_another_tokenizer_is_refused(run):
    assert run.tokenizer.vocab_size == 271
    BPETokenizer.train(["other words for the other worlds of wonder"] * 3, 271).save(run.path / "tokenizer.json")
    with pytest.raises(RunError, match="is not the tokenizer this run was trained with"):
        _ = Run(run.path).tokenizer


@pytest.mark.parametrize("changes", [{"n_layer": 2}, {"n_embd": 32}, {"qk_norm": False}])
def test_another_models_weights_are_refused(run, small_model, changes):
    other = model_for(small_model, **changes)
    with pytest.raises(CheckpointError, match="do not fit their settings") as caught:
        load_weights(other, load_checkpoint(run.checkpoint_folder("best")).weights, run.path)
    assert "\n" not in str(caught.value)


def test_weights_of_nothing_are_refused(small_model, tmp_path):
    with pytest.raises(CheckpointError, match="do not fit"):
        load_weights(model_for(small_model), {}, tmp_path)


def test_a_run_can_be_moved(run, tmp_path):
    shutil.move(run.path, tmp_path / "elsewhere")
    assert Run(str(tmp_path / "elsewhere")).load_model("best") is not None


def test_a_config_that_was_cut_is_refused(run):
    (run.path / "config.toml").write_text("[model\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        Run(run.path)
    write_json(run.path / "config.toml", {})
    with pytest.raises(ConfigError):
        Run(run.path)
