"""The summed surprise of targets, straight from hidden states: logits of a large vocabulary never stand there at once.

Legend: N tokens, n of them in a piece, C width, V vocabulary.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100  # a target that is not scored; PyTorch's own default
LARGE_VOCABULARY = 16_384  # below this the logits of a batch are small beside the rest
LOGITS_AT_ONCE = 2**25  # 128 MB in fp32


def summed_nats(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """-log p(target), in nats, over all targets that are not IGNORED, where p is softmax(hidden weight^T).

    Args:
        hidden: the last hidden states, (N, C).
        weight: the head's, (V, C).
        targets: int64 (N,).

    Returns:
        A float32 scalar.

    >>> hidden, weight = torch.randn(5, 8), torch.zeros(3, 8)
    >>> summed_nats(hidden, weight, torch.tensor([0, 2, 1, -100, 1]))  # 4 ln 3
    tensor(4.3944)
    """
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
    is_small = weight.size(0) < LARGE_VOCABULARY
    # The compiler fuses the plain loss to the same memory; fp16 would lose gradients that are not scaled yet.
    if is_small or torch.compiler.is_compiling() or dtype == torch.float16:
        return F.cross_entropy(F.linear(hidden, weight).float(), targets, reduction="sum", ignore_index=IGNORED)
    return _NatsInPieces.apply(hidden, weight, targets, dtype)  # pyright: ignore[reportReturnType]


class _NatsInPieces(torch.autograd.Function):
    """Takes a piece of the tokens at a time, and its part of the gradient at once, while its logits are there.

    The gradient of the sum is known in the forward pass but for one factor, which the backward pass brings. As in
    Wijmans et al., "Cut your losses in large-vocabulary language models", 2024 (arXiv 2411.09009), with less cut.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, dtype: torch.dtype) -> Tensor:
        n = max(1, LOGITS_AT_ONCE // weight.size(0))
        states, head = hidden.to(dtype), weight.to(dtype)
        total = torch.zeros((), device=hidden.device)
        d_states, d_weight = torch.empty_like(states), torch.zeros_like(weight)
        for rows in range(0, hidden.size(0), n):
            piece, wanted = states[rows : rows + n], targets[rows : rows + n]
            nats, d_logits = _nats_and_gradient(piece @ head.T, wanted)
            total += nats
            d_logits = d_logits.to(dtype)  # (n, V)
            torch.mm(d_logits, head, out=d_states[rows : rows + n])
            d_weight += d_logits.T @ piece
        ctx.save_for_backward(d_states, d_weight)
        return total

    @staticmethod
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        d_states, d_weight = ctx.saved_tensors
        return d_states * factor, d_weight * factor, None, None


def _nats_and_gradient(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Summed surprise, and its gradient softmax - one-hot: (n, V) logits and (n,) targets to () and (n, V) float32."""
    scored = (targets != IGNORED).unsqueeze(1)
    places = targets.clamp(min=0).unsqueeze(1)
    log_p = logits.log_softmax(dim=1, dtype=torch.float32)
    nats = -(log_p.gather(1, places) * scored).sum()
    d_logits = log_p.exp_()  # in the same memory
    d_logits.scatter_add_(1, places, torch.full_like(places, -1, dtype=torch.float32))
    return nats, d_logits if scored.all() else d_logits.mul_(scored)
