"""Attention: fused against explicit, against loops in plain Python, and its weights."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from storyloom.config import ModelConfig
from storyloom.model.attention import ATTENTIONS, attention_weights, causal_mask, eager_attention, sdpa_attention

from .choices import draw_batch, over_models


def draw_heads(new: int, seen: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (2, 3, new, 5), keys and values (2, 3, seen, 5), float64, with gradients."""
    dice = torch.Generator().manual_seed(11)
    shapes = ((2, 3, new, 5), (2, 3, seen, 5), (2, 3, seen, 5))
    q, k, v = (torch.randn(shape, generator=dice, dtype=torch.double, requires_grad=True) for shape in shapes)
    return q, k, v


def by_hand(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention as loops over numbers."""
    new, seen, size = q.size(2), k.size(2), q.size(3)
    out = torch.zeros_like(q)
    for b in range(q.size(0)):
        for h in range(q.size(1)):
            for t in range(new):
                visible = range(seen - new + t + 1)
                powers = [
                    math.exp(sum(float(q[b, h, t, d] * k[b, h, s, d]) for d in range(size)) / math.sqrt(size))
                    for s in visible
                ]
                for d in range(size):
                    out[b, h, t, d] = sum(p * float(v[b, h, s, d]) for p, s in zip(powers, visible, strict=True))
                    out[b, h, t, d] /= sum(powers)
    return out


SIZES = pytest.mark.parametrize(("new", "seen"), [(7, 7), (1, 7), (3, 7), (1, 1)])


@SIZES
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_attention_equals_loops_over_numbers(attention: str, new: int, seen: int) -> None:
    q, k, v = (tensor.detach() for tensor in draw_heads(new, seen))
    torch.testing.assert_close(ATTENTIONS[attention](q, k, v, 0.0), by_hand(q, k, v), rtol=1e-12, atol=1e-12)


@SIZES
def test_explicit_and_fused_agree_forward_and_backward(new: int, seen: int) -> None:
    results = []
    for attend in (eager_attention, sdpa_attention):
        heads = draw_heads(new, seen)
        y = attend(*heads, 0.0)
        weight = torch.arange(1, y.numel() + 1, dtype=torch.double).reshape(y.shape)
        results.append((y.detach(), *torch.autograd.grad((y * weight.sin()).sum(), heads)))
    for explicit, fused in zip(*results, strict=True):
        torch.testing.assert_close(explicit, fused, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("new", "seen"), [(1, 1), (2, 5), (5, 5)])
def test_the_mask_shows_each_token_itself_and_all_before(new: int, seen: int) -> None:
    expected = [[s <= seen - new + t for s in range(seen)] for t in range(new)]
    assert causal_mask(new, seen, torch.device("cpu")).tolist() == expected


def test_dropping_weights_keeps_their_mean() -> None:
    """With values of one, the output is the sum of kept weights over 1 - p: 1 on average."""
    q, k, _ = (tensor.detach() for tensor in draw_heads(7, 7))
    ones = torch.ones_like(k)
    torch.manual_seed(5)
    for attend in ATTENTIONS.values():
        sums = torch.stack([attend(q, k, ones, 0.25)[..., 0] for _ in range(601)])
        first = sums[:, :, :, 0].flatten()  # one weight of 1: kept as 1 / 0.75, or dropped
        assert {round(value, 6) for value in first.tolist()} == {0.0, round(1 / 0.75, 6)}
        assert sums.mean() == pytest.approx(1, abs=0.02)


@over_models
def test_models_with_either_attention_agree_forward_and_backward(
    config: ModelConfig, seed: int, make_model: Callable
) -> None:
    ids = draw_batch(config, seed)
    found = []
    for attention in ATTENTIONS:
        model = make_model(config.with_(attention=attention))
        losses = torch.nn.functional.cross_entropy(model(ids).transpose(1, 2), ids.flip(1))
        found.append([losses.detach(), *torch.autograd.grad(losses, list(model.parameters()))])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_weights_are_causal_sum_to_1_and_give_the_output(config: ModelConfig, make_model: Callable) -> None:
    module = make_model(config).blocks[1].attn
    x = torch.randn(2, 11, 60, generator=torch.Generator().manual_seed(3), dtype=torch.double)
    weights = module.weights(x)
    assert weights.shape == (2, 6, 11, 11)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 6, 11, dtype=torch.double))
    assert torch.equal(weights, weights.tril())
    assert (weights.tril() > 0).sum() == 2 * 6 * 11 * 12 // 2
    _, _, v = module.project(x, 0)
    served = [weights[:, h] @ v[:, h * config.kv_heads // 6] for h in range(6)]
    torch.testing.assert_close(module.out(torch.cat(served, dim=-1)), module(x), rtol=1e-10, atol=1e-10)


def test_equal_scores_share_alike() -> None:
    weights = attention_weights(torch.zeros(1, 1, 3, 2), torch.ones(1, 1, 3, 2))
    assert weights[0, 0].tolist() == [[1, 0, 0], [0.5, 0.5, 0], pytest.approx([1 / 3] * 3)]
