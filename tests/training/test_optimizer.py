"""Which weights decay, one update by hand, and the optimizer state out and in."""

from pathlib import Path

import pytest
import torch

from storyloom.config import ModelConfig, TrainConfig
from storyloom.errors import CheckpointError
from storyloom.model import GPT
from storyloom.training.muon import Muon
from storyloom.training.optimizer import OPTIMIZERS, optimizer_tensors, restore_optimizer


def _is_hidden(name: str, parameter: torch.Tensor) -> bool:
    return name.startswith("blocks.") and parameter.dim() == 2


def model_with(**options) -> GPT:
    torch.manual_seed(3)
    return GPT(ModelConfig(vocab_size=53, block_size=23, n_layer=2, n_head=2, n_embd=28, **options))


def give_gradients(model: GPT, seed: int) -> None:
    torch.manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)


@pytest.mark.parametrize(
    "options",
    [
        {"position": "learned", "norm": "layernorm", "bias": True, "mlp": "gelu"},
        {"tie_embeddings": False, "qk_norm": True},
    ],
)
def test_only_the_blocks_matrices_decay(options):
    model = model_with(**options)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = OPTIMIZERS["adamw"](model, TrainConfig(learning_rate=0.5, weight_decay=0.25))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()  # without a gradient only the decay is left
    shrunk = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    expected = {
        name for name in before if name.startswith("blocks.") and name.endswith(".weight") and "norm" not in name
    }
    assert shrunk == expected
    assert len(expected) >= 8
    for name, parameter in model.named_parameters():
        factor = 0.875 if name in expected else 1.0
        torch.testing.assert_close(parameter.detach(), before[name] * factor, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("name", "beta2", "decoupled"), [("adam", 0.999, False), ("adamw", 0.95, True)])
def test_two_updates_by_hand(name, beta2, decoupled):
    """Kingma and Ba, algorithm 1, with the decay a part of the gradient; Loshchilov and Hutter, algorithm 2."""
    model = model_with()
    named = dict(model.named_parameters())
    expected = {name: parameter.detach().double() for name, parameter in named.items()}
    m = {name: torch.zeros_like(value) for name, value in expected.items()}
    v = {name: torch.zeros_like(value) for name, value in expected.items()}
    optimizer = OPTIMIZERS[name](model, TrainConfig(learning_rate=0.07, weight_decay=0.3))
    for t in (1, 2):
        give_gradients(model, seed=t)
        optimizer.step()
        for name, value in expected.items():
            gradient = named[name].grad.double()
            if _is_hidden(name, value) and not decoupled:
                gradient = gradient + 0.3 * value
            m[name] = 0.9 * m[name] + 0.1 * gradient
            v[name] = beta2 * v[name] + (1 - beta2) * gradient**2
            if _is_hidden(name, value) and decoupled:
                value *= 1 - 0.07 * 0.3
            value -= 0.07 * (m[name] / (1 - 0.9**t)) / ((v[name] / (1 - beta2**t)).sqrt() + 1e-8)
    for name, parameter in named.items():
        torch.testing.assert_close(parameter.detach().double(), expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_state_is_put_back_to_the_bit(name):
    settings = TrainConfig(learning_rate=0.07)
    model = model_with(qk_norm=True)
    optimizer = OPTIMIZERS[name](model, settings)
    for step in range(3):
        give_gradients(model, seed=step)
        optimizer.step()
    tensors = {name: tensor.clone() for name, tensor in optimizer_tensors(optimizer, model).items()}
    matrices = sum(_is_hidden(name, parameter) for name, parameter in model.named_parameters())
    kept = 3 * len(list(model.parameters()))  # two moments and a count each; Muon has one momentum
    assert len(tensors) == (kept - 2 * matrices if name == "muon" else kept)
    twin = model_with(qk_norm=True)
    twin.load_state_dict(model.state_dict())
    restored = OPTIMIZERS[name](twin, settings)
    restore_optimizer(restored, twin, tensors, Path("R"))
    again = optimizer_tensors(restored, twin)
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[name], tensors[name]) and again[name].dtype == tensors[name].dtype for name in tensors)
    for a, b in ((model, optimizer), (twin, restored)):
        give_gradients(a, seed=7)
        b.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_before_the_first_update_there_is_nothing_to_keep(name):
    model = model_with()
    optimizer = OPTIMIZERS[name](model, TrainConfig())
    assert optimizer_tensors(optimizer, model) == {}
    restore_optimizer(optimizer, model, {}, Path("R"))
    give_gradients(model, seed=1)
    optimizer.step()


def test_muon_moves_the_blocks_matrices_and_adamw_the_rest():
    """Two updates with a changed rate, against the library's two optimizers, each on its own share."""
    settings = TrainConfig(learning_rate=0.07, weight_decay=0.3)
    model, twin = model_with(qk_norm=True), model_with(qk_norm=True)
    optimizer = OPTIMIZERS["muon"](model, settings)
    named = list(twin.named_parameters())
    muon = Muon([p for name, p in named if _is_hidden(name, p)], lr=0.07, weight_decay=0.3)
    rest = [p for name, p in named if not _is_hidden(name, p)]
    adamw = torch.optim.AdamW(rest, lr=0.07, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    for step, rate in enumerate([0.07, 0.013]):
        for group in (*optimizer.param_groups, *muon.param_groups, *adamw.param_groups):
            group["lr"] = rate
        for each in (model, twin):
            give_gradients(each, seed=step)
        for each in (optimizer, muon, adamw):
            each.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_state_goes_by_the_parameters_names(name):
    """Numbers of parameters meant others as soon as a model had one more."""
    model = model_with(qk_norm=True)
    optimizer = OPTIMIZERS[name](model, TrainConfig(weight_decay=0.0))
    give_gradients(model, seed=1)
    optimizer.step()
    tensors = optimizer_tensors(optimizer, model)
    moment, scale = ("momentum_buffer", 0.05) if name == "muon" else ("exp_avg", 0.1)
    for parameter, kept in (("blocks.1.attn.qkv.weight", moment), ("blocks.0.attn.q_norm.weight", "exp_avg")):
        gradient = dict(model.named_parameters())[parameter].grad
        factor = scale if kept == moment else 0.1
        torch.testing.assert_close(tensors[f"{parameter}.{kept}"], factor * gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_another_state_is_refused(name):
    model = model_with()
    optimizer = OPTIMIZERS[name](model, TrainConfig())
    give_gradients(model, seed=1)
    optimizer.step()
    tensors = optimizer_tensors(optimizer, model)
    first = next(iter(tensors))
    largest = max(tensors, key=lambda key: tensors[key].numel())
    for changed, part in (
        ({key: value for key, value in tensors.items() if key != first}, f"does not fit {first.rsplit('.', 1)[0]}"),
        ({**tensors, largest: tensors[largest][1:]}, f"does not fit {largest.rsplit('.', 1)[0]}"),
        ({**tensors, "blocks.7.attn.out.weight.exp_avg": torch.zeros(3)}, "blocks.7.attn.out.weight.exp_avg"),
    ):
        with pytest.raises(CheckpointError, match="the optimizer state in R") as caught:
            restore_optimizer(OPTIMIZERS[name](model, TrainConfig()), model, changed, Path("R"))
        assert part in str(caught.value)


def test_betas_momentum_and_epsilon_are_settings():
    settings = TrainConfig(beta1=0.7, beta2=0.6, adam_eps=1e-5, muon_momentum=0.5)
    for name in OPTIMIZERS:
        for part in OPTIMIZERS[name](model_with(), settings).parts:
            for group in part.param_groups:
                if isinstance(part, Muon):
                    assert group["momentum"] == 0.5
                else:
                    assert (group["betas"], group["eps"]) == ((0.7, 0.6), 1e-5)
