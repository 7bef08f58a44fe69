"""Pure functions from logits to the next token: processors, and a draw.

Legend: n rows (one a story), V vocabulary. Nothing here holds state: chance comes in as uniform numbers.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

PRESELECTED = 1024  # tokens that nearly always reach p; to sort a large vocabulary takes longer than the model's step


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """The logits over the temperature, shifted so that the largest of each row is 0: (n, V) to float64 (n, V).

    Without the shift a tiny temperature would make the largest infinite.

    >>> apply_temperature(torch.tensor([[1.0, 3.0, 2.0]]), 0.5)
    tensor([[-4.,  0., -2.]], dtype=torch.float64)
    """
    return (logits - logits.amax(dim=-1, keepdim=True)).double() / temperature


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Only the k largest logits of each row; the others become -inf. (n, V) to (n, V). Fan et al., 2018 (1805.04833).

    >>> keep_top_k(torch.tensor([[1.0, 3.0, 2.0]]), 2)
    tensor([[-inf, 3., 2.]])
    """
    values, indices = logits.topk(min(k, logits.size(-1)))
    return torch.full_like(logits, -torch.inf).scatter(-1, indices, values)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Only the most likely tokens that together reach probability p; the others become -inf. (n, V) to (n, V).

    The token that crosses p is kept, so that at least one is; of equal ones the first. Holtzman et al., 2019
    (arXiv 1904.09751).

    >>> keep_top_p(torch.tensor([[0.2, 0.5, 0.3]]).log(), 0.7).exp()
    tensor([[0.0000, 0.5000, 0.3000]])
    """
    if p >= 1:
        return logits  # rounding would drop the least likely ones
    total = logits.logsumexp(dim=-1, keepdim=True)
    ordered = logits.topk(min(PRESELECTED, logits.size(-1))).values
    reached = (ordered - total).exp().cumsum(dim=-1)  # the probability of each token and those before it
    if (reached[:, -1] < p).any():
        ordered = logits.sort(descending=True).values
        reached = (ordered - total).exp().cumsum(dim=-1)
    count = ((reached < p).sum(dim=-1, keepdim=True) + 1).clamp(max=ordered.size(-1))  # of tokens to keep, (n, 1)
    least = ordered.gather(-1, count - 1)
    above, equal = logits > least, logits == least
    kept = above | equal & (equal.cumsum(dim=-1) <= count - above.sum(dim=-1, keepdim=True))
    return logits.masked_fill(~kept, -torch.inf)


def keep_min_p(logits: Tensor, min_p: float) -> Tensor:
    """Only tokens at least `min_p` times as likely as the likeliest; the others become -inf. (n, V) to (n, V).

    Nguyen et al., 2024 (arXiv 2407.01082).

    >>> keep_min_p(torch.tensor([[0.2, 0.5, 0.3]]).log(), 0.5).exp()
    tensor([[0.0000, 0.5000, 0.3000]])
    """
    return logits.masked_fill(logits < logits.amax(dim=-1, keepdim=True) + math.log(min_p), -torch.inf)


def penalise_repetition(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Make tokens that a story already holds less likely: positive logits are divided, negative ones multiplied.

    Keskar et al., 2019 (CTRL, arXiv 1909.05858); they divide negative ones too, which makes them likelier.

    Args:
        logits: (n, V).
        seen: bool (n, V), the tokens that each row holds.
        penalty: above 1 against repetition, below 1 for it.

    Returns:
        float64 (n, V), finite.

    >>> penalise_repetition(torch.tensor([[3.0, -3.0, 3.0]]), torch.tensor([[True, True, False]]), 1.5)
    tensor([[ 2.0000, -4.5000,  3.0000]], dtype=torch.float64)
    """
    logits = logits.double()
    penalised = torch.where(logits > 0, logits / penalty, logits * penalty)
    largest = torch.finfo(torch.double).max  # a softmax with an infinity in it is nan
    return torch.where(seen, penalised.clamp(-largest, largest), logits)


def pick(logits: Tensor, uniforms: Tensor) -> Tensor:
    """Draw a token from each row's softmax by inverting its distribution function.

    Args:
        logits: (n, V); a token at -inf is never drawn.
        uniforms: float64 (n,), each in [0, 1).

    Returns:
        int64 (n,).
    """
    cumulative = logits.double().softmax(dim=-1).cumsum(dim=-1)  # (n, V)
    target = (uniforms * cumulative[:, -1]).unsqueeze(-1)  # below the last value, whatever rounding made of it
    return torch.searchsorted(cumulative, target, right=True).squeeze(-1)


# What each option of a strategy that draws does to the logits, (n, V) to (n, V), in the order of their application.
# The repetition penalty, which also needs the tokens that were seen, comes before them. Any of them combine.
PROCESSORS: dict[str, Callable[[Tensor, Any], Tensor]] = {
    "temperature": apply_temperature,
    "top_k": keep_top_k,
    "top_p": keep_top_p,
    "min_p": keep_min_p,
}
