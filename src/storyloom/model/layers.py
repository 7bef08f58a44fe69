"""The layers around attention: normalizations and MLPs. Legend: B batch, T tokens, C width, M the MLP's width."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from storyloom.config import ModelConfig


class LayerNorm(nn.Module):
    """Center and scale the last axis, then apply a gain and perhaps a bias (Ba et al., 2016, arXiv 1607.06450)."""

    def __init__(self, width: int, bias: bool, eps: float | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None
        self.eps = 1e-5 if eps is None else eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, eps=self.eps)


class RMSNorm(nn.Module):
    """Scale the last axis to a root mean square of 1, then apply a gain (Zhang and Sennrich, 2019, arXiv 1910.07467).

    The epsilon is 1e-6 by default: tied embeddings start near 0.004, and a larger one would drown their mean square of
    1.6e-5.
    """

    def __init__(self, width: int, bias: bool = False, eps: float | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = 1e-6 if eps is None else eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to (..., C)."""
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), eps=self.eps)


NORMS: dict[str, Callable[[int, bool, float | None], nn.Module]] = {"layernorm": LayerNorm, "rmsnorm": RMSNorm}


def dropout(x: Tensor, p: float) -> Tensor:
    """Set a share of the elements to 0 and enlarge the others, so that the mean stays (Srivastava et al., 2014).

    On a CPU random numbers are most of what dropout costs, and so one of 64 bits serves eight elements: `p` is then
    taken to the nearest 256th, and never to 0 or 1.

    Args:
        x: any shape.
        p: the share.

    Returns:
        The same shape and precision. Numbers come from PyTorch's global generator.
    """
    if x.device.type != "cpu":
        return F.dropout(x, p)
    dropped = min(max(round(256 * p), 1), 255)
    words = torch.randint(-(2**63), 2**63 - 1, (-(-x.numel() // 8),))  # all but the last of 2^64
    is_kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= dropped
    return x * is_kept * (256 / (256 - dropped))


class Dropout(nn.Module):
    """`dropout` in training mode."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        return dropout(x, self.p) if self.training and self.p else x


class MLP(nn.Module):
    """Widen, apply an activation, and come back: act(x W1) W2."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.mlp]
        self.up = nn.Linear(config.n_embd, config.mlp_width, bias=config.bias)
        self.down = nn.Linear(config.mlp_width, config.n_embd, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        return self.down(self.activation(self.up(x)))  # through (B, T, M)


class SwiGLU(nn.Module):
    """A gated MLP: (silu(x W1) * x W2) W3 (Shazeer, "GLU variants improve Transformer", 2020, arXiv 2002.05202).

    W1 and W2 are one matrix, so that the machine sees one large product.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_up = nn.Linear(config.n_embd, 2 * config.mlp_width, bias=False)
        self.down = nn.Linear(config.mlp_width, config.n_embd, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)  # (B, T, M) each
        return self.down(F.silu(gate) * up)


def relu_squared(x: Tensor) -> Tensor:
    """max(x, 0)^2 (So et al., "Primer", 2021, arXiv 2109.08668)."""
    return F.relu(x).square()


def gelu(x: Tensor) -> Tensor:
    """GELU by GPT-2's tanh approximation (Hendrycks and Gimpel, 2016, arXiv 1606.08415)."""
    return F.gelu(x, approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": gelu, "relu2": relu_squared}
MLPS: dict[str, Callable[[ModelConfig], nn.Module]] = {**dict.fromkeys(ACTIVATIONS, MLP), "swiglu": SwiGLU}
