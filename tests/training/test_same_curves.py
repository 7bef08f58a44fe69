"""What makes training fast changes no loss: each such way against the plain one, update by update."""

from collections.abc import Callable

import pytest
import torch

from storyloom.model import loss
from storyloom.runtime.device import has_compiler
from storyloom.training.trainer import Trainer

UPDATES = 40
Make = Callable[..., Trainer]
Patch = pytest.MonkeyPatch
PLAIN = ["model.attention=eager", "train.batch_size=6", f"train.max_steps={UPDATES}"]


def plain(make: Make, settings: list[str], patch: Patch) -> Trainer:
    return make(*PLAIN, *settings)


def compiled(make: Make, settings: list[str], patch: Patch) -> Trainer:
    if not has_compiler(torch.device("cpu")):
        pytest.skip("no C++ compiler here")
    return make(*PLAIN, *settings, "train.compile=true")


def with_sdpa_attention(make: Make, settings: list[str], patch: Patch) -> Trainer:
    return make(*PLAIN, *settings, "model.attention=sdpa")


def in_micro_batches(make: Make, settings: list[str], patch: Patch) -> Trainer:
    return make(*PLAIN, *settings, "train.batch_size=2", "train.grad_accum_steps=3")


def with_the_loss_in_pieces(make: Make, settings: list[str], patch: Patch) -> Trainer:
    patch.setattr(loss, "LARGE_VOCABULARY", 1)
    patch.setattr(loss, "LOGITS_AT_ONCE", 10_000)
    return make(*PLAIN, *settings)


WAYS = [compiled, with_sdpa_attention, in_micro_batches, with_the_loss_in_pieces]


def curve(way: Callable[[Make, list[str], Patch], Trainer], make: Make, settings: list[str]) -> torch.Tensor:
    """The loss of each update, nats/token."""
    with pytest.MonkeyPatch.context() as patch:
        trainer = way(make, settings, patch)
        return torch.tensor([trainer.update().loss for _ in range(UPDATES)])


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_in_fp32_the_curve_is_the_same(make_trainer, way, optimizer):
    settings = [f"train.optimizer={optimizer}", "train.learning_rate=2e-3", "train.precision=fp32"]
    expected = curve(plain, make_trainer, settings)
    assert expected[-1] < expected[0] - 0.3
    torch.testing.assert_close(curve(way, make_trainer, settings), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_in_bf16_it_is_nearer_than_another_seeds(make_trainer, way, optimizer):
    """Of the last ten updates' mean loss; three seeds each."""
    settings = [f"train.optimizer={optimizer}", "train.learning_rate=2e-3", "train.precision=bf16"]
    seeds = [[*settings, f"train.seed={seed}"] for seed in (1, 2, 3)]
    expected = torch.stack([curve(plain, make_trainer, each)[-10:].mean() for each in seeds])
    found = torch.stack([curve(way, make_trainer, each)[-10:].mean() for each in seeds])
    assert (found - expected).abs().max() < expected.max() - expected.min()
