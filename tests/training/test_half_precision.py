"""Training in fp16 with a scaled loss: the same way as fp32, and what happens when a gradient overflows."""

import math

import pytest
import torch

from storyloom.config import Config
from storyloom.errors import TrainingDiverged
from storyloom.runtime import Runtime
from storyloom.training.trainer import Trainer


@pytest.fixture
def half(make_trainer):
    """A trainer in fp16."""

    def make(*settings: str) -> Trainer:
        exact = make_trainer(*settings)
        config = Config(model=exact.model.config, train=exact.settings)
        return Trainer(config, exact.data, Runtime(torch.device("cpu"), "fp16", 1))

    return make


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "muon"])
def test_losses_and_gradients_are_those_of_fp32(make_trainer, half, optimizer):
    setting = f"train.optimizer={optimizer}"
    exact, scaled = make_trainer(setting), half(setting)
    for _ in range(7):
        a, b = exact.update(), scaled.update()
        assert b.loss == pytest.approx(a.loss, abs=0.02)
        assert b.grad_norm == pytest.approx(a.grad_norm, rel=0.05)  # unscaled before it is logged and clipped
    assert scaled.scaler.get_scale() == 2**16


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()]).clone()


def test_an_overflow_skips_the_update_and_halves_the_scale(half):
    trainer = half("train.max_steps=60")
    trainer.update()
    trainer.scaler.update(2.0**40)  # far above fp16's largest number, 65504
    before = weights(trainer)
    update = trainer.update()
    assert math.isfinite(update.loss)
    assert update.grad_norm is None
    assert torch.equal(weights(trainer), before)
    assert trainer.scaler.get_scale() == 2.0**39
    assert trainer.step == 2  # the schedule goes on
    for _ in range(39):
        trainer.update()
    assert not torch.equal(weights(trainer), before)
    assert trainer.scaler.get_scale() < 2.0**30


@pytest.mark.parametrize("where", ["weights", "gradient"])
def test_what_no_scale_can_mend_is_divergence(half, where):
    trainer = half()
    trainer.update()
    if where == "weights":
        with torch.no_grad():
            trainer.model.blocks[1].mlp.down.weight[2, 3] = math.nan
        with pytest.raises(TrainingDiverged, match="diverged at step 2: loss nan"):
            trainer.update()
    else:
        trainer.model.embedding.weight.register_hook(lambda gradient: gradient * math.nan)
        for _ in range(16):  # from 65,536 down to 1
            trainer.update()
        with pytest.raises(TrainingDiverged, match="gradient norm nan"):
            trainer.update()
        assert trainer.scaler.get_scale() == 1
