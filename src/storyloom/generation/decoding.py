"""From ids to more ids, with a cache: prefill once, then one step a token. Knows no text.

Legend: n rows (one a story), T tokens, V vocabulary. When a story outgrows the block, its last `block_size // 2` tokens
become a new window, prefilled afresh; the logits are then those of a full forward over exactly that window.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from storyloom.generation.strategies import Strategy
from storyloom.model import GPT, KVCache
from storyloom.runtime.forking import fork_safe


class Drawn(NamedTuple):
    """A token that a story goes on by."""

    story: int
    """Which one, counted from 0."""
    token: int
    """Its id; the end-of-text is the last one of a story that ends by itself."""
    log_probability: float
    """In nats: the model's own, before any penalty, temperature or filter."""


@contextmanager
def telling(model: GPT) -> Iterator[None]:
    """Dropout and gradients off, and one thread in a forked child; all is put back afterwards."""
    was_training = model.training
    if was_training:  # walking all modules costs as much as a tenth of a step
        model.eval()
    try:
        with fork_safe(), torch.inference_mode():
            yield
    finally:
        if was_training:
            model.train()


class Decoding:
    """Rows of ids that grow by one token a step.

    Args:
        model: in evaluation mode.
        ids: what to go on from, int64 (n, T), T at least 1.

    `logits` holds those of the next token, (n, V); after `remember`, `seen` holds each row's tokens, bool (n, V).
    """

    seen: Tensor | None = None

    def __init__(self, model: GPT, ids: Tensor) -> None:
        self._model = model
        self._ids = ids
        self._prefill(ids[:, -first_window(ids.size(1), model.config.block_size) :])

    def step(self, tokens: Tensor) -> None:
        """Append one token to each row, int64 (n,), and move `logits` on."""
        self._ids = torch.cat([self._ids, tokens.unsqueeze(1)], dim=1)
        if self.seen is not None:
            self.seen.scatter_(1, tokens.unsqueeze(1), True)
        if self._cache.length == self._cache.capacity:
            self._prefill(self._ids[:, -(self._cache.capacity // 2) :])
        else:
            self.logits = self._model(self._ids[:, -1:], self._cache)[:, -1]

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows only, in this order, int64 (n',); a row may come twice."""
        self._ids, self.logits = self._ids[rows], self.logits[rows]
        self._cache.keep(rows)
        if self.seen is not None:
            self.seen = self.seen[rows]

    def remember(self, ignored: int) -> None:
        """Keep `seen` from now on, also for what has left the window; the token `ignored` so far does not count."""
        self.seen = torch.zeros_like(self.logits, dtype=torch.bool).scatter_(1, self._ids, True)
        self.seen[:, ignored] = False

    def _prefill(self, window: Tensor) -> None:
        self._cache = KVCache(self._model.config, window.size(0), like=self._model.embedding.weight)
        hidden = self._model.hidden(window, self._cache)[:, -1]  # the head only where it is needed
        self.logits = self._model.head(hidden)


def first_window(length: int, block_size: int) -> int:
    """How many tokens, the last ones of `length`, are prefilled first.

    >>> first_window(23, 23), first_window(24, 23)
    (23, 11)
    """
    return length if length <= block_size else block_size // 2


def begin(model: GPT, ids: list[int], strategy: Strategy, eot: int) -> Decoding:
    """One row to go on from; it remembers its tokens where the strategy asks for that.

    End-of-text does not count as a token that was seen: else no story would end.
    """
    decoding = Decoding(model, torch.tensor([ids], device=model.embedding.weight.device))
    if strategy.repetition_penalty != 1:
        decoding.remember(ignored=eot)
    return decoding


def decode(
    model: GPT, ids: list[int], strategy: Strategy, *, eot: int, max_new_tokens: int, num_stories: int, seed: int
) -> Iterator[list[Drawn]]:
    """Go on from `ids` in several stories at once, until each ends or `max_new_tokens` are told.

    Story number i draws from a generator of its own, so that it does not depend on how many stories are told.

    Args:
        model: dropout is off while this runs.
        ids: where every story starts.
        strategy: chooses the tokens.
        eot: the token that ends a story.
        max_new_tokens: at most so many tokens a story.
        num_stories: how many.
        seed: of all chance.

    Yields:
        For each step, the next token of each story still being told.
    """
    device = model.embedding.weight.device
    dice = [torch.Generator().manual_seed(_mix(seed, story)) for story in range(num_stories)]
    alive = list(range(num_stories))
    tokens = None
    with telling(model):
        decoding = begin(model, ids, strategy, eot)
        decoding.keep(torch.zeros(num_stories, dtype=torch.long, device=device))
    for _ in range(max_new_tokens):
        with telling(model):  # not across the yield: between two steps the caller may train the model, or go away
            if tokens is not None:
                decoding.step(tokens)
            tokens, log_probabilities = _draw(strategy, decoding, [dice[story] for story in alive])
            told = [Drawn(*each) for each in zip(alive, tokens.tolist(), log_probabilities.tolist(), strict=True)]
            going_on = [row for row, each in enumerate(told) if each.token != eot]
            if len(going_on) < len(alive):
                alive = [alive[row] for row in going_on]
                tokens = tokens[going_on]
                decoding.keep(torch.tensor(going_on, dtype=torch.long, device=device))
        yield told
        if not alive:
            return


def where_exact(tensor: Tensor) -> Tensor:
    """The same tensor where float64 is known, which mps does not."""
    return tensor.cpu() if tensor.device.type == "mps" else tensor


def _draw(strategy: Strategy, decoding: Decoding, dice: list[torch.Generator]) -> tuple[Tensor, Tensor]:
    """The next token of each row, int64 (n,), by the next number of the row's own generator; its nats, float64 (n,)."""
    uniforms = torch.stack([torch.rand((), generator=die, dtype=torch.double) for die in dice])
    logits = where_exact(decoding.logits)
    seen = None if decoding.seen is None else where_exact(decoding.seen)
    tokens = strategy.choose(logits, uniforms.to(logits.device), seen)
    log_probabilities = logits.double().log_softmax(dim=-1).gather(1, tokens.unsqueeze(1)).squeeze(1)
    return tokens.to(decoding.logits.device), log_probabilities


def _mix(seed: int, story: int) -> int:
    """A seed for each story, by splitmix64 (Steele et al., 2014, doi 10.1145/2660193.2660195).

    PyTorch's generator on the CPU looks at the low 32 bits only: all 64 must reach them.
    """
    z = (seed + 0x9E3779B97F4A7C15 * (story + 1)) % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return (z ^ z >> 31) % 2**63
