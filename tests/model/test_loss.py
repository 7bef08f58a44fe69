"""The loss in pieces: the same number and the same gradients as PyTorch's cross entropy over all logits."""

import math

import pytest
import torch
import torch.nn.functional as F

from storyloom import data
from storyloom.model import loss
from storyloom.model.loss import IGNORED, summed_nats

N, C, V = 23, 11, 53


@pytest.fixture
def inputs():
    dice = torch.Generator().manual_seed(3)
    hidden = torch.randn(N, C, generator=dice).requires_grad_()
    weight = torch.randn(V, C, generator=dice).requires_grad_()
    targets = torch.randint(V, (N,), generator=dice)
    targets[[0, 7, 22]] = IGNORED
    return hidden, weight, targets


@pytest.fixture(params=[1, 5, 23, 99])
def pieces(request, monkeypatch):
    """Every vocabulary is a large one, and so many tokens make a piece."""
    monkeypatch.setattr(loss, "LARGE_VOCABULARY", 2)
    monkeypatch.setattr(loss, "LOGITS_AT_ONCE", request.param * V)


def reference(hidden, weight, targets):
    """All logits at once, in float64."""
    a, b = hidden.detach().double().requires_grad_(), weight.detach().double().requires_grad_()
    total = F.cross_entropy(a @ b.T, targets, reduction="sum", ignore_index=IGNORED)
    (total / 7).backward()
    return total.detach(), a.grad, b.grad


def test_pieces_are_the_whole(inputs, pieces):
    hidden, weight, targets = inputs
    total = summed_nats(hidden, weight, targets)
    (total / 7).backward()
    expected, d_hidden, d_weight = reference(hidden, weight, targets)
    assert total.dtype == torch.float32
    torch.testing.assert_close(total.detach().double(), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(hidden.grad.double(), d_hidden, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(weight.grad.double(), d_weight, rtol=1e-4, atol=1e-6)
    assert hidden.grad[7].abs().max() == 0


def test_in_bf16_it_is_as_near_as_the_plain_loss(inputs, monkeypatch):
    hidden, weight, targets = inputs
    expected, d_hidden, d_weight = reference(hidden, weight, targets)
    errors = {}
    for name, large in (("plain", 10**9), ("pieces", 2)):
        monkeypatch.setattr(loss, "LARGE_VOCABULARY", large)
        hidden.grad = weight.grad = None
        with torch.autocast("cpu", torch.bfloat16):
            total = summed_nats(hidden, weight, targets)
        (total / 7).backward()
        assert hidden.grad.dtype == weight.grad.dtype == torch.float32
        errors[name] = [
            (total - expected).abs() / expected,
            (hidden.grad - d_hidden).norm() / d_hidden.norm(),
            (weight.grad - d_weight).norm() / d_weight.norm(),
        ]
    for plain, pieces in zip(errors["plain"], errors["pieces"], strict=True):
        assert pieces < max(1.5 * plain, 3e-3)


def test_no_target_is_no_surprise(inputs, pieces):
    hidden, weight, targets = inputs
    total = summed_nats(hidden, weight, torch.full_like(targets, IGNORED))
    total.backward()
    assert total.detach() == 0
    assert hidden.grad.abs().max() == weight.grad.abs().max() == 0


def test_huge_logits_stay_finite(inputs, pieces):
    hidden, weight, targets = inputs
    total = summed_nats(hidden * 1e4, weight, targets)
    total.backward()
    assert math.isfinite(total.detach())
    assert hidden.grad.isfinite().all()


def test_all_logits_never_stand_there_at_once(inputs, monkeypatch):
    """What is kept for the backward pass is the size of the inputs."""
    hidden, weight, targets = inputs
    kept = []
    monkeypatch.setattr(loss, "LARGE_VOCABULARY", 2)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        summed_nats(hidden, weight, targets)
    assert set(kept) == {hidden.shape, weight.shape}
    kept.clear()
    monkeypatch.setattr(loss, "LARGE_VOCABULARY", 10**9)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        summed_nats(hidden, weight, targets)
    assert (N, V) in kept


def test_the_data_ignores_the_same_targets():
    """The model knows no data, so that the number stands on both floors."""
    assert loss.IGNORED == data.IGNORED
