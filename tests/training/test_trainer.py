"""One update, seen from outside: the loss, the gradient, clipping, accumulation; and what must leave it alone."""

import math

import pytest
import torch

from storyloom.data import IGNORED, Batches
from storyloom.errors import TrainingDiverged
from storyloom.runs import save_checkpoint
from storyloom.training.optimizer import OPTIMIZERS
from storyloom.training.state import checkpoint_of, restore
from storyloom.training.trainer import Trainer
from storyloom.training.update import Updater


def flat(trainer: Trainer) -> torch.Tensor:
    """All weights, float64 (n,)."""
    return torch.cat([parameter.detach().double().flatten() for parameter in trainer.model.parameters()])


def first_batches(trainer: Trainer, rows: str, count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The batches of the first update, from a reader of their own."""
    source = Batches(
        trainer.data,
        rows=rows,
        batch_size=trainer.settings.batch_size,
        block_size=trainer.model.config.block_size,
        seed=1337,
    )
    return [tuple(map(torch.from_numpy, source.next())) for _ in range(count)]  # pyright: ignore[reportReturnType]


def nats_of(trainer: Trainer, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """-log p of each valid target, written out."""
    log_p = trainer.model(inputs).double().log_softmax(-1)
    valid = targets != IGNORED
    return -log_p[valid].gather(1, targets[valid].unsqueeze(1)).squeeze(1)


@pytest.fixture
def sgd(monkeypatch):
    """Plain gradient descent with a rate of 1: what an update subtracts is the gradient itself."""
    monkeypatch.setitem(OPTIMIZERS, "adamw", lambda model, settings: torch.optim.SGD(model.parameters(), lr=1.0))
    return ["train.learning_rate=1", "train.warmup_steps=0", "train.schedule=constant"]


@pytest.mark.parametrize("rows", ["packed", "padded"])
def test_the_loss_is_nats_per_token_over_all_valid_targets(make_trainer, rows):
    trainer = make_trainer(f"data.rows={rows}", "train.grad_accum_steps=5")
    nats = torch.cat([nats_of(trainer, *batch) for batch in first_batches(trainer, rows, 5)])
    update = trainer.update()
    assert update.tokens == len(nats) == trainer.tokens
    assert update.loss == pytest.approx(nats.mean().item(), rel=1e-6)
    assert abs(update.loss - math.log(283)) < 0.2
    if rows == "padded":
        assert len(nats) < 5 * 3 * 37


@pytest.mark.parametrize("clip", ["none", "0.13", "1000"])
def test_clipping_scales_the_update_and_logs_the_norm_before_it(make_trainer, sgd, clip):
    trainer = make_trainer(*sgd, f"train.grad_clip={clip}")
    nats_of(trainer, *first_batches(trainer, "packed", 1)[0]).mean().backward()
    gradient = torch.cat([parameter.grad.double().flatten() for parameter in trainer.model.parameters()])
    norm = gradient.norm().item()
    assert norm > 0.5
    before = flat(trainer)
    update = trainer.update()
    assert update.grad_norm == pytest.approx(norm, rel=1e-5)
    scale = 0.13 / norm if clip == "0.13" else 1.0
    torch.testing.assert_close(before - flat(trainer), gradient * scale, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_four_micro_batches_of_eight_are_one_of_thirty_two(make_trainer, request, optimizer):
    extra = request.getfixturevalue("sgd") if optimizer == "sgd" else []
    settings = ["data.rows=padded", "model.block_size=97", "train.grad_clip=0.5", *extra]
    whole = make_trainer(*settings, "train.batch_size=32")
    parts = make_trainer(*settings, "train.batch_size=8", "train.grad_accum_steps=4")
    sizes = {int((targets != IGNORED).sum()) for _, targets in first_batches(parts, "padded", 4)}
    assert len(sizes) > 1  # a mean of the micro-batches' means would be another number
    assert torch.equal(flat(whole), flat(parts))
    a, b = whole.update(), parts.update()
    assert (a.loss, a.grad_norm) == pytest.approx((b.loss, b.grad_norm), abs=1e-5)
    assert a.tokens == b.tokens
    torch.testing.assert_close(flat(whole), flat(parts), rtol=0, atol=1e-5)


def test_a_mean_of_means_would_be_seen(make_trainer, sgd, monkeypatch):
    settings = [*sgd, "data.rows=padded", "model.block_size=97", "train.batch_size=8", "train.grad_accum_steps=4"]
    right, wrong = make_trainer(*settings), make_trainer(*settings)
    right.update()
    backward = Updater._backward
    monkeypatch.setattr(Updater, "_backward", lambda self, x, y, n: backward(self, x, y, 4 * int((y != IGNORED).sum())))
    wrong.update()
    assert (flat(right) - flat(wrong)).abs().max() > 1e-3


def test_the_learning_rate_follows_the_schedule(make_trainer, sgd):
    settings = ["train.max_steps=4", "train.warmup_steps=2", "train.schedule=linear", "train.learning_rate=0.5"]
    trainer = make_trainer(*sgd, *settings)
    rates = []
    for _ in range(4):
        trainer.update()
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert rates == [0.25, 0.5, 0.5, 0.25]


def test_evaluations_and_samples_leave_training_alone(make_trainer):
    quiet = make_trainer("model.dropout=0.1")
    updates = [quiet.update() for _ in range(3)]
    busy = make_trainer("model.dropout=0.1")  # seeds PyTorch's generator anew
    for update in updates:
        busy.evaluate()
        busy.sample()
        assert busy.update() == update
    assert torch.equal(flat(quiet), flat(busy))
    assert busy.evaluate() == quiet.evaluate()
    assert busy.sample() == quiet.sample()


def test_dropout_is_on_in_training_and_off_in_evaluation(make_trainer):
    trainer = make_trainer("model.dropout=0.5")
    assert trainer.evaluate() == trainer.evaluate()
    twin = make_trainer("model.dropout=0.0")
    assert trainer.evaluate() == twin.evaluate()
    assert trainer.update().loss != twin.update().loss


def test_a_checkpoint_is_everything_the_next_update_needs(make_trainer, tmp_path):
    trainer = make_trainer("model.dropout=0.1")
    for _ in range(3):
        trainer.update()
    save_checkpoint(tmp_path / "last", checkpoint_of(trainer))
    expected = trainer.update()
    torch.manual_seed(99)  # both draw their dropout from PyTorch's one generator
    restored = make_trainer("model.dropout=0.1")
    restore(restored, tmp_path / "last")
    assert (restored.step, restored.tokens) == (3, trainer.tokens - expected.tokens)
    assert restored.update() == expected
    assert restored.batches.place == trainer.batches.place
    assert torch.equal(flat(restored), flat(trainer))


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_poisoned_weights_stop_training_and_stay_as_they_are(make_trainer, poison):
    trainer = make_trainer()
    trainer.update()
    with torch.no_grad():
        trainer.model.blocks[1].mlp.down.weight[2, 3] = poison
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    with pytest.raises(TrainingDiverged) as caught:
        trainer.update()
    assert "diverged at step 2" in str(caught.value)
    assert "lower train.learning_rate (now 0.003)" in str(caught.value)
    assert "\n" not in str(caught.value)
    after = trainer.model.state_dict()
    assert all(torch.equal(before[name].nan_to_num(), after[name].nan_to_num()) for name in before)
    assert trainer.step == 1
