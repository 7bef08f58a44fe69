"""Muon: momentum whose matrices are made orthogonal before they move the weights. Knows nothing of models."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

# Each row is the odd polynomial a x + b x^3 + c x^5 that brings what its forerunners leave of [0.003, 1] nearest to 1,
# and what lies two hundredths above it: beyond, the polynomials are steep, and bf16's rounding would grow without end.
POLAR_EXPRESS = (
    (8.2218, -23.3469, 16.6338),
    (3.9727, -2.8448, 0.5170),
    (3.4720, -2.5021, 0.4798),
    (2.5050, -1.7913, 0.4072),
)


@torch.no_grad()
def orthogonalize(matrices: Tensor, polynomials: Iterable[tuple[float, float, float]] = POLAR_EXPRESS) -> Tensor:
    """U V^T of each matrix U S V^T, nearly: all of its singular values are brought to between 0.78 and 1.22.

    Newton's and Schulz's iteration on the matrix over its Frobenius norm: products only, so that bf16 will do. Four
    steps with the best polynomial for each (Amsel et al., "The Polar Express", 2025, arXiv 2505.16932) do the work of
    five with one polynomial for all (Jordan et al., 2024). Singular values below 0.003 of the norm stay smaller.

    Args:
        matrices: (n, rows, columns): one large product is faster than many small ones.
        polynomials: (a, b, c) of a x + b x^3 + c x^5, one a step.

    Returns:
        (n, rows, columns), in the precision of the autocast around it, if there is one.

    >>> orthogonalize(torch.tensor([[[3.0, 0.0], [0.0, 0.1]]])).round(decimals=1)
    tensor([[[1.2000, 0.0000],
             [0.0000, 0.8000]]])
    """
    device, is_tall = matrices.device.type, matrices.shape[-2] > matrices.shape[-1]
    x = matrices.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    # x <- (a + b g + c g^2) x, multiplied from the shorter side: no copy is ever transposed.
    for a, b, c in polynomials:
        gram = x.mT @ x if is_tall else x @ x.mT
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, x, factor, beta=a) if is_tall else torch.baddbmm(x, factor, x, beta=a)
    return x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalized; decoupled weight decay (Jordan et al., 2024).

    An update's root mean square is AdamW's, about 0.2 (Liu et al., 2025, arXiv 2502.16982), so that learning rates
    found for one serve the other. Under autocast the products are taken in its precision.

    Args:
        parameters: matrices.
        lr: learning rate.
        weight_decay: share of a weight that an update at lr = 1 takes off.
        momentum: how much of the momentum stays at each update.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, lr: float, weight_decay: float, momentum: float = 0.95
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for shape, parameters in by_shape.items():
                updates = orthogonalize(torch.stack([self._nesterov(p, group["momentum"]) for p in parameters]))
                scale = group["lr"] * 0.2 * max(shape) ** 0.5
                for parameter, update in zip(parameters, updates, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(update, alpha=scale)

    def _nesterov(self, parameter: nn.Parameter, decay: float) -> Tensor:
        """The gradient, moved on by its momentum."""
        assert parameter.grad is not None
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        momentum = state["momentum_buffer"].lerp_(parameter.grad, 1 - decay)
        return parameter.grad.lerp(momentum, decay)
