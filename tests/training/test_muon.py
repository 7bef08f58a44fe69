"""Orthogonal updates against the singular value decomposition, and Muon against PyTorch's."""

import pytest
import torch

from storyloom.training import muon
from storyloom.training.muon import POLAR_EXPRESS, Muon, orthogonalize

SHAPES = [(29, 29), (29, 83), (83, 29)]
JORDAN = [(3.4445, -4.7750, 2.0315)] * 5


def matrices_with(values: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Two matrices with these singular values, (2, rows, columns), and their nearest orthogonal ones."""
    generator = torch.Generator().manual_seed(5)
    short = min(rows, columns)
    left = torch.linalg.qr(torch.randn(2, rows, short, generator=generator, dtype=torch.float64)).Q
    right = torch.linalg.qr(torch.randn(2, columns, short, generator=generator, dtype=torch.float64)).Q
    return torch.stack([left @ torch.diag(values) @ right.mT, left @ right.mT])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "slack"), [(torch.float64, 1e-3), (torch.float32, 1e-3), (torch.bfloat16, 0.03)])
def test_singular_values_come_near_1_and_the_directions_stay(shape, dtype, slack):
    values = torch.logspace(-2, 0, 29, dtype=torch.float64) * 17  # down to 0.004 of the Frobenius norm
    matrices, nearest = matrices_with(values, *shape)
    result = orthogonalize(matrices.to(dtype)).double()
    got = torch.linalg.svdvals(result)
    assert got.min() > 0.77 - slack
    assert got.max() < 1.23 + slack
    cosine = (result * nearest).sum((-2, -1)) / (result.norm(dim=(-2, -1)) * nearest.norm(dim=(-2, -1)))
    assert cosine.min() > 0.98


def test_small_singular_values_stay_small():
    values = torch.tensor([1.0, 1e-5], dtype=torch.float64)
    matrices, _ = matrices_with(values, 2, 7)
    got = torch.linalg.svdvals(orthogonalize(matrices))
    gain = 8.2218 * 3.9727 * 3.472 * 2.505  # of the polynomials, next to zero
    torch.testing.assert_close(got[:, 1], torch.full((2,), 1e-5 * gain, dtype=torch.float64), rtol=1e-3, atol=0)


def test_zeros_stay_zeros():
    assert orthogonalize(torch.zeros(3, 5, 7)).abs().max() == 0


def test_each_polynomial_is_nearest_to_1_on_what_its_forerunners_leave():
    """The largest error is met four times, in turns from below and above: Chebyshev's sign of the best of three."""
    low, high = 0.003, 1.0
    for a, b, c in POLAR_EXPRESS:
        x = torch.linspace(low**0.5, (1.02 * high) ** 0.5, 20_001, dtype=torch.float64) ** 2
        error = a * x + b * x**3 + c * x**5 - 1
        inner = (error[1:-1] - error[:-2]) * (error[2:] - error[1:-1]) < 0
        peaks = torch.cat([error[:1], error[1:-1][inner], error[-1:]])
        torch.testing.assert_close(peaks.abs(), peaks.abs().max().expand(4), rtol=5e-3, atol=0)
        assert torch.equal(peaks.sign(), torch.tensor([-1.0, 1, -1, 1], dtype=torch.float64))
        low, high = float(1 + error.min()), float(1 + error.max())
    assert (low, high) == pytest.approx((0.78, 1.22), abs=2e-3)


@pytest.mark.parametrize("rank", [1, 2, 11])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rounding_does_not_grow_where_one_direction_is_nearly_all(rank, dtype):
    """A first gradient is like that: its norm is one singular value, and in bf16 a little more than one."""
    generator = torch.Generator().manual_seed(7)
    for size in (1e-6, 1.0, 1e3):
        left, right = (torch.randn(31, n, rank, generator=generator) for n in (61, 97))
        matrices = size * (left @ right.mT + 1e-4 * torch.randn(31, 61, 97, generator=generator))
        assert torch.linalg.svdvals(orthogonalize(matrices.to(dtype)).float()).max() < 1.25


@pytest.mark.parametrize("shape", SHAPES)
def test_with_jordans_polynomials_it_is_pytorchs(shape, monkeypatch):
    """Two updates at changing rates; the library's products are in bf16, and so are ours under autocast."""
    monkeypatch.setattr(muon, "orthogonalize", lambda updates: orthogonalize(updates, JORDAN))
    generator = torch.Generator().manual_seed(3)
    start = [torch.randn(shape, generator=generator) for _ in range(3)]
    ours, theirs = ([torch.nn.Parameter(each.clone()) for each in start] for _ in range(2))
    optimizers = [
        Muon(ours, lr=0.07, weight_decay=0.3),
        torch.optim.Muon(theirs, lr=0.07, weight_decay=0.3, adjust_lr_fn="match_rms_adamw"),
    ]
    for rate in (0.07, 0.013):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(shape, generator=generator)
            b.grad = a.grad.clone()
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = rate
            with torch.autocast("cpu", torch.bfloat16):
                optimizer.step()
    moved = 0.083 * 0.2 * max(shape) ** 0.5  # times a matrix whose singular values are about 1
    for a, b, before in zip(ours, theirs, start, strict=True):
        assert (b - before).norm() > 0.3 * moved
        assert (a - b).norm() < 0.02 * moved * min(shape) ** 0.5


def test_parameters_without_a_gradient_stay():
    moved, still = (torch.nn.Parameter(torch.ones(3, 5)) for _ in range(2))
    moved.grad = torch.ones(3, 5)
    Muon([moved, still], lr=0.07, weight_decay=0.3).step()
    assert (moved != 1).all()
    assert (still == 1).all()
