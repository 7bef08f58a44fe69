"""Dropout: how much is dropped, where, and that nothing else changes."""

import math

import pytest
import torch

from storyloom.model.layers import Dropout, dropout

N = 83 * 1009  # no multiple of the eight elements that share a random number


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_share_that_is_dropped_and_the_mean(p):
    torch.manual_seed(3)
    result = dropout(torch.full((83, 1009), 7.0), p)
    share = round(256 * p) / 256
    dropped = (result == 0).double()
    four_sigma = 4 * math.sqrt(share * (1 - share) / N)
    assert dropped.mean().item() == pytest.approx(share, abs=four_sigma)
    assert result[result != 0].unique().tolist() == pytest.approx([7 / (1 - share)])


def test_all_elements_have_the_same_chance_and_do_not_go_together():
    """Eight neighbours come from one random number: each of its bytes is fair, and no two are alike."""
    torch.manual_seed(5)
    dropped = (dropout(torch.ones(40_000, 8), 0.5) == 0).double()
    assert (dropped.mean(0) - 0.5).abs().max() < 4 * 0.5 / 200
    assert (torch.corrcoef(dropped.T) - torch.eye(8)).abs().max() < 4 / 200
    following = torch.corrcoef(torch.stack([dropped[:-1].flatten(), dropped[1:].flatten()]))
    assert following[0, 1].abs() < 4 / math.sqrt(8 * 40_000)


@pytest.mark.parametrize(("p", "share"), [(1e-9, 1 / 256), (0.9999, 255 / 256)])
def test_it_never_drops_nothing_or_all(p, share):
    torch.manual_seed(7)
    assert (dropout(torch.ones(N), p) == 0).double().mean().item() == pytest.approx(share, abs=0.001)


def test_the_gradient_passes_where_the_value_did():
    x = torch.randn(5, 7, requires_grad=True)
    result = dropout(x, 0.25)
    result.sum().backward()
    torch.testing.assert_close(x.grad, result.detach() / x.detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_shape_and_precision_stay(dtype):
    assert dropout(torch.ones(3, 1, 5, dtype=dtype), 0.5).dtype == dtype
    assert dropout(torch.ones(3, 1, 5, dtype=dtype), 0.5).shape == (3, 1, 5)


def test_the_layer_acts_in_training_only():
    x, layer = torch.ones(N), Dropout(0.5)
    assert (layer(x) == 0).any()
    assert layer.eval()(x) is x
    assert Dropout(0.0)(x) is x
