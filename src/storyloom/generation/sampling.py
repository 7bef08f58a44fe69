"""Pure functions from logits to the next token, and the named strategies made of them.

Legend: n rows (one a story), V vocabulary. Nothing here holds state: chance comes in as uniform numbers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from storyloom.errors import ConfigError, nearest


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
    """
    if p >= 1:
        return logits  # rounding would drop the least likely ones
    ordered, indices = logits.sort(descending=True, stable=True)
    probabilities = ordered.softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities  # of the tokens more likely than this one
    kept = ordered.masked_fill(before >= p, -torch.inf)
    return torch.empty_like(logits).scatter(-1, indices, kept)


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


@dataclass(frozen=True)
class Strategy:
    """How the next token is chosen.

    >>> Strategy("top-k", top_k=1).choose(torch.tensor([[1.0, 3.0, 2.0]]), torch.tensor([0.9]))
    tensor([1])
    """

    name: str
    temperature: float | None = None
    """Divides the logits: below 1 sharper, above 1 flatter. None leaves them."""
    top_k: int | None = None
    """Draw among this many of the most likely tokens."""
    top_p: float | None = None
    """Draw among the most likely tokens that reach this probability together."""

    def __post_init__(self) -> None:
        if self.temperature is not None and not self.temperature > 0:
            raise ConfigError(f"temperature = {self.temperature:g} must be above 0: for no chance at all, take greedy")
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"top_k = {self.top_k} must be at least 1, the number of tokens to draw among")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p = {self.top_p:g} must be above 0 and at most 1, a probability")

    @property
    def is_greedy(self) -> bool:
        """Whether chance plays no part."""
        return self.name == "greedy"

    def choose(self, logits: Tensor, uniforms: Tensor) -> Tensor:
        """The next token of each row: (n, V) logits and (n,) uniform numbers in [0, 1) to int64 (n,)."""
        if self.is_greedy:
            return logits.argmax(dim=-1)
        if self.temperature is not None:
            # The largest becomes 0, which no temperature can turn into infinity.
            logits = (logits - logits.amax(dim=-1, keepdim=True)).double() / self.temperature
        if self.top_k is not None:
            logits = keep_top_k(logits, self.top_k)
        if self.top_p is not None:
            logits = keep_top_p(logits, self.top_p)
        return pick(logits, uniforms)


# Each strategy with its defaults; options that a strategy leaves at None contradict it.
STRATEGIES: Mapping[str, Strategy] = {
    "greedy": Strategy("greedy"),
    "multinomial": Strategy("multinomial"),
    "temperature": Strategy("temperature", temperature=0.8),
    "top-k": Strategy("top-k", temperature=0.7, top_k=50),
    "top-p": Strategy("top-p", temperature=0.8, top_p=0.95),
}


def make_strategy(name: str | None = None, **options: Any) -> Strategy:
    """A strategy by its name, with options in place of its defaults.

    Args:
        name: a key of `STRATEGIES`; None means `top-p`, or `top-k` where `top_k` is given.
        options: `temperature`, `top_k`, `top_p`; None counts as not given.

    Raises:
        ConfigError: the name or an option is unknown, an option contradicts the strategy, or is out of range.

    >>> make_strategy("top-k", top_k=5)
    Strategy(name='top-k', temperature=0.7, top_k=5, top_p=None)
    """
    given = {option: value for option, value in options.items() if value is not None}
    if name is None:
        name = "top-k" if "top_k" in given else "top-p"
    if name not in STRATEGIES:
        raise ConfigError(f"unknown strategy {name!r}: {nearest(name, STRATEGIES)}")
    base = STRATEGIES[name]
    defaults = {option: default for option, default in vars(base).items() if option != "name"}
    for option, value in given.items():
        if option not in defaults:
            raise ConfigError(f"unknown option {option!r} of a strategy: {nearest(option, defaults)}")
        if defaults[option] is None:
            taken = [other for other, default in defaults.items() if default is not None]
            raise ConfigError(
                f"{option} = {value} contradicts the strategy {name}, which takes "
                f"{' and '.join(taken) or 'no options'}: leave it out, or choose another strategy"
            )
    return replace(base, **given)
