"""The state of a training in a checkpoint: what is read is what was written, and nothing else."""

import json
from dataclasses import asdict, replace

import pytest
import torch

from storyloom.errors import CheckpointError
from storyloom.runs import load_checkpoint, save_checkpoint
from storyloom.runs.rows import Mark
from storyloom.training.state import TrainingState, checkpoint_of, restore
from storyloom.training.update import Update


@pytest.fixture
def trainer(make_trainer):
    made = make_trainer("model.dropout=0.1", "train.ema=0.7", "train.optimizer=muon")
    for _ in range(3):
        made.update()
    made.best, made.best_step, made.waited = 3.25, 2, 1
    return made


@pytest.fixture
def folder(trainer, tmp_path):
    """A checkpoint with everything that a loop adds."""
    since_row = ((Update(2.5, None, 103, 0.001), 0.75),)
    logs = {"metrics.jsonl": Mark(1013, "ab"), "samples.jsonl": Mark(0, "cd")}
    loop = {"elapsed": 7.5, "seconds": 5.25, "since_row": since_row}
    save_checkpoint(tmp_path / "last", checkpoint_of(trainer, logs, **loop))
    return tmp_path / "last"


def fresh(make_trainer):
    return make_trainer("model.dropout=0.1", "train.ema=0.7", "train.optimizer=muon")


def test_all_of_the_state_is_read_back(make_trainer, trainer, folder):
    other = fresh(make_trainer)
    state = restore(other, folder)
    assert state == TrainingState(
        step=3,
        tokens=trainer.tokens,
        plan=trainer.plan,
        place=trainer.batches.place,
        best=3.25,
        best_step=2,
        waited=1,
        scaler={},
        elapsed=7.5,
        seconds=5.25,
        since_row=((Update(2.5, None, 103, 0.001), 0.75),),
        logs={"metrics.jsonl": Mark(1013, "ab"), "samples.jsonl": Mark(0, "cd")},
    )
    assert (other.step, other.tokens, other.plan) == (3, trainer.tokens, trainer.plan)
    assert (other.best, other.best_step, other.waited) == (3.25, 2, 1)
    assert other.batches.place == trainer.batches.place


@pytest.mark.parametrize("name", [field for field in TrainingState.__dataclass_fields__ if "pydantic" not in field])
def test_a_value_of_another_type_is_named(make_trainer, folder, name):
    """A step that was a text, or a plan that was missing, ended in a traceback."""
    kept = load_checkpoint(folder)
    for value in ("x", True, None if name != "best" else [], -1, [3], {"a": 1}):
        save_checkpoint(folder, replace(kept, state={**kept.state, name: value}))
        with pytest.raises(CheckpointError, match=rf"state\.json .*{name}.*: put the checkpoint back") as error:
            restore(fresh(make_trainer), folder)
        assert len(str(error.value).splitlines()) == 1


def test_what_is_missing_or_unknown_is_named(make_trainer, folder):
    kept = load_checkpoint(folder)
    for name in ("step", "tokens", "plan", "place", "best", "best_step", "waited", "scaler", "logs"):
        lost = {key: value for key, value in kept.state.items() if key != name}
        save_checkpoint(folder, replace(kept, state=lost))
        with pytest.raises(CheckpointError, match=rf"state\.json is damaged \({name}: "):
            restore(fresh(make_trainer), folder)
    save_checkpoint(folder, replace(kept, state={**kept.state, "dream": 1}))
    with pytest.raises(CheckpointError, match=r"state\.json is damaged \(dream: "):
        restore(fresh(make_trainer), folder)


@pytest.mark.parametrize("name", ["random.cpu", "raw.embedding.weight", "optimizer.embedding.weight.exp_avg"])
def test_a_tensor_that_is_missing_or_of_another_shape_is_refused(make_trainer, folder, name):
    kept = load_checkpoint(folder)
    lost = {key: value for key, value in kept.tensors.items() if key != name}
    for tensors in (lost, {**kept.tensors, name: torch.zeros(7)}):
        save_checkpoint(folder, replace(kept, tensors=tensors))
        with pytest.raises(CheckpointError) as error:
            restore(fresh(make_trainer), folder)
        assert str(folder) in str(error.value)


def test_the_state_on_the_disk_is_plain_json(trainer, folder):
    """The norm of an update that overflowed stood there as Infinity, which is no JSON."""
    state = json.loads((folder / "state.json").read_text(), parse_constant=pytest.fail)
    assert state["since_row"] == [[{"loss": 2.5, "grad_norm": None, "tokens": 103, "learning_rate": 0.001}, 0.75]]
    assert state["plan"] == asdict(trainer.plan)
