"""Normalisations and MLPs against their formulas, number by number."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from storyloom.config import ModelConfig
from storyloom.model.layers import MLPS, NORMS, LayerNorm, RMSNorm


def draw(*shape: int, seed: int = 5) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def fill(module: torch.nn.Module) -> None:
    """Random parameters, float64."""
    module.double()
    with torch.no_grad():
        for seed, parameter in enumerate(module.parameters()):
            parameter.copy_(draw(*parameter.shape, seed=seed))


@torch.no_grad()
@pytest.mark.parametrize("bias", [False, True])
def test_layernorm_centres_scales_and_shifts(bias: bool) -> None:
    norm, x = LayerNorm(7, bias), 3 + 2 * draw(2, 3, 7)
    fill(norm)
    y = norm(x)
    for row, result in zip(x.reshape(-1, 7).tolist(), y.reshape(-1, 7).tolist(), strict=True):
        mean = sum(row) / 7
        deviation = math.sqrt(sum((value - mean) ** 2 for value in row) / 7 + 1e-5)
        shifts = norm.bias.tolist() if norm.bias is not None else [0.0] * 7
        gains = norm.weight.tolist()
        expected = [(v - mean) / deviation * g + s for v, g, s in zip(row, gains, shifts, strict=True)]
        assert result == pytest.approx(expected, rel=1e-9)


@torch.no_grad()
def test_rmsnorm_scales_and_does_not_centre() -> None:
    norm, x = RMSNorm(7), 3 + 2 * draw(2, 3, 7)
    fill(norm)
    for row, result in zip(x.reshape(-1, 7).tolist(), norm(x).reshape(-1, 7).tolist(), strict=True):
        size = math.sqrt(sum(value * value for value in row) / 7 + 1e-6)
        assert result == pytest.approx([v / size * g for v, g in zip(row, norm.weight.tolist(), strict=True)], rel=1e-9)


@torch.no_grad()
def test_rmsnorm_does_not_drown_small_inputs() -> None:
    """Tied embeddings start near 0.004: an epsilon of 1e-5 would leave a root mean square of 0.78, not 1."""
    x = 0.004 * torch.where(draw(3, 512) > 0, 1.0, -1.0)
    assert RMSNorm(512).double()(x).square().mean().sqrt().item() == pytest.approx(1, abs=0.04)


def test_rmsnorm_has_no_bias_and_layernorm_only_when_told() -> None:
    names = {
        (kind, bias): sorted(dict(norm(7, bias).named_parameters())) for kind, norm in NORMS.items() for bias in (0, 1)
    }
    assert names[("layernorm", 1)] == ["bias", "weight"]
    assert names[("layernorm", 0)] == names[("rmsnorm", 0)] == names[("rmsnorm", 1)] == ["weight"]


FORMULAS: dict[str, Callable[[float], float]] = {
    "relu": lambda x: max(x, 0.0),
    "relu2": lambda x: max(x, 0.0) ** 2,
    "gelu": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
}


def product(matrix: Tensor, x: list[float]) -> list[float]:
    return [sum(w * value for w, value in zip(row, x, strict=True)) for row in matrix.tolist()]


@torch.no_grad()
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", FORMULAS)
def test_an_mlp_follows_its_formula(kind: str, bias: bool) -> None:
    module, x = MLPS[kind](ModelConfig(n_head=1, n_embd=6, n_mlp=11, mlp=kind, bias=bias)), draw(6)
    fill(module)
    up, down = module.up.weight, module.down.weight
    first = module.up.bias.tolist() if bias else [0.0] * 11
    second = module.down.bias.tolist() if bias else [0.0] * 6
    wide = [FORMULAS[kind](value + b) for value, b in zip(product(up, x.tolist()), first, strict=True)]
    expected = [value + b for value, b in zip(product(down, wide), second, strict=True)]
    assert module(x[None, None])[0, 0].tolist() == pytest.approx(expected, rel=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("bias", [False, True])
def test_swiglu_follows_its_formula_and_never_has_biases(bias: bool) -> None:
    module, x = MLPS["swiglu"](ModelConfig(n_head=1, n_embd=6, n_mlp=11, mlp="swiglu", bias=bias)), draw(6)
    fill(module)
    assert [tuple(parameter.shape) for parameter in module.parameters()] == [(22, 6), (6, 11)]
    both = product(module.gate_up.weight, x.tolist())
    wide = [gate / (1 + math.exp(-gate)) * up for gate, up in zip(both[:11], both[11:], strict=True)]
    assert module(x[None, None])[0, 0].tolist() == pytest.approx(product(module.down.weight, wide), rel=1e-9)


@torch.no_grad()
def test_qk_norm_scales_each_head_before_it_turns(make_model: Callable) -> None:
    """Root mean square 1 times the gain, whatever the input's size; RoPE keeps the length."""
    module = make_model(ModelConfig(vocab_size=53, block_size=23, n_layer=1, n_head=3, n_embd=30, qk_norm=True))
    attn = module.blocks[0].attn
    torch.nn.init.constant_(attn.q_norm.weight, 2.0)
    torch.nn.init.constant_(attn.k_norm.weight, 3.0)
    x = draw(2, 7, 30)
    for scale in (1.0, 100.0):
        q, k, v = attn.project(scale * x, 0)
        torch.testing.assert_close(q.square().mean(-1), torch.full((2, 3, 7), 4.0).double(), rtol=1e-4, atol=0)
        torch.testing.assert_close(k.square().mean(-1), torch.full((2, 3, 7), 9.0).double(), rtol=1e-4, atol=0)
        assert v.square().mean() > 0.1 * scale**2  # values are as they come


@torch.no_grad()
def test_qk_norms_gain_comes_before_rope(make_model: Callable) -> None:
    """A gain of 0 on the first half leaves (0, y), which turns to (-y sin, y cos): after RoPE it would leave 0."""
    config = ModelConfig(vocab_size=53, block_size=23, n_layer=1, n_head=3, n_embd=30, qk_norm=True)
    attn = make_model(config).blocks[0].attn
    attn.q_norm.weight[:5] = 0
    q, _, _ = attn.project(draw(2, 7, 30), 0)
    assert q[:, :, 0, :5].abs().max() < 1e-9  # at place 0 nothing turns
    assert q[:, :, 3, :5].abs().max() > 0.1
