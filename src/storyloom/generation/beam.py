"""Beam search: the likeliest stories that can be found by following a few beginnings at once. Knows no text.

Legend: b beams still being told, V vocabulary, t tokens told so far.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from storyloom.errors import ConfigError
from storyloom.generation.decoding import Decoding, Drawn, begin, telling, where_exact
from storyloom.generation.strategies import Strategy
from storyloom.model import GPT


@dataclass(frozen=True)
class Found:
    """A story that the search has found."""

    tokens: list[int]
    """What was told; without the end-of-text."""
    log_probabilities: list[float]
    """In nats, of each token: the model's own, without the penalty; one more than tokens where the story has ended."""
    log_probability: float
    """In nats, of all that was told, as the repetition penalty leaves it; with the end-of-text, if there is one."""
    score: float
    """log-probability / tokens ** length_penalty, the end-of-text counted in: what stories are ranked by."""


def beam_search(
    model: GPT, ids: list[int], strategy: Strategy, *, eot: int, max_new_tokens: int, num_stories: int, seed: int = 0
) -> Iterator[list[Drawn]]:
    """Go on from `ids` in the stories that score best; called as `decode` is.

    Args:
        model, ids, strategy, eot, max_new_tokens: those of `find_stories`.
        num_stories: how many to tell, the best first; at most `beams`.
        seed: not used, as there is no chance.

    Yields:
        For each story all of its tokens: none is certain before the search is over.
    """
    found = find_stories(model, ids, strategy, eot=eot, max_new_tokens=max_new_tokens)
    for story, best in enumerate(found[:num_stories]):
        tokens = best.tokens if len(best.tokens) == len(best.log_probabilities) else [*best.tokens, eot]
        yield [Drawn(story, *each) for each in zip(tokens, best.log_probabilities, strict=True)]


def find_stories(model: GPT, ids: list[int], strategy: Strategy, *, eot: int, max_new_tokens: int) -> list[Found]:
    """As many stories as there are beams, the best first. Sutskever et al., 2014 (arXiv 1409.3215).

    Of all continuations of the beams by one token the likeliest are kept, as many as there are beams. One that ends is
    put aside, and there is one beam less. What is left when no beam is, or after `max_new_tokens`, is ranked by score.
    Of equal continuations that of the better beam comes first, then the lower token.

    Args:
        model: dropout is off while this runs.
        ids: where every story starts.
        strategy: with `beams` and `length_penalty`.
        eot: the token that ends a story.
        max_new_tokens: at most so many tokens a story.

    Raises:
        ConfigError: more beams than the vocabulary has tokens.
    """
    beams = _checked_beams(strategy, model)
    found: list[Found] = []
    told, totals = torch.empty(1, 0, dtype=torch.long), torch.zeros(1, dtype=torch.double)  # (b, t), (b,)
    nats = torch.empty(1, 0, dtype=torch.double)  # of each token, without the penalty, (b, t)
    parents = tokens = torch.empty(0, dtype=torch.long)
    with telling(model):
        decoding = begin(model, ids, strategy, eot)
        while len(told) and told.size(1) < max_new_tokens:
            if told.size(1):
                _follow(decoding, parents, tokens)
            penalised, own = _log_probabilities(strategy, decoding)  # (b, V) each
            continuations = totals.unsqueeze(1) + penalised
            best = first_largest(continuations.flatten(), beams - len(found))
            parents, tokens = best // continuations.size(1), best % continuations.size(1)
            told = torch.cat([told[parents], tokens.unsqueeze(1)], dim=1)
            nats = torch.cat([nats[parents], own.flatten()[best].unsqueeze(1)], dim=1)
            totals = continuations.flatten()[best]
            ended = tokens == eot
            found += _score(told[ended], nats[ended], totals[ended], strategy, eot)
            told, nats, totals, parents, tokens = (rows[~ended] for rows in (told, nats, totals, parents, tokens))
    found += _score(told, nats, totals, strategy, eot)
    return sorted(found, key=lambda story: -story.score)


def first_largest(values: Tensor, count: int) -> Tensor:
    """Where the `count` largest values stand, the largest first, of equal ones the first: (n,) to int64 (count,).

    >>> first_largest(torch.tensor([1.0, 3.0, 2.0, 3.0, 2.0]), 3)
    tensor([1, 3, 2])
    """
    least = values.topk(count).values[-1]
    places = (values >= least).nonzero().squeeze(1)  # in their order, which topk does not keep among equals
    return places[values[places].sort(descending=True, stable=True).indices[:count]]


def _follow(decoding: Decoding, parents: Tensor, tokens: Tensor) -> None:
    """Let each beam go on from its parent by its token, both int64 (b,)."""
    device = decoding.logits.device
    decoding.keep(parents.to(device))
    decoding.step(tokens.to(device))


def _log_probabilities(strategy: Strategy, decoding: Decoding) -> tuple[Tensor, Tensor]:
    """Of each beam's next token, in nats, float64 (b, V): after the repetition penalty, and the model's own."""
    logits = where_exact(decoding.logits).double()
    own = logits.log_softmax(dim=-1).cpu()
    if decoding.seen is None:
        return own, own
    return strategy.penalise(logits, where_exact(decoding.seen)).log_softmax(dim=-1).cpu(), own


def _score(told: Tensor, nats: Tensor, totals: Tensor, strategy: Strategy, eot: int) -> list[Found]:
    """Stories of the same length: (b, t) tokens, with the end-of-text where they have ended, and nats; (b,) totals."""
    scores = totals / told.size(1) ** (strategy.length_penalty or 0.0)
    rows = zip(told.tolist(), nats.tolist(), totals.tolist(), scores.tolist(), strict=True)
    return [Found(row[:-1] if row[-1] == eot else row, own, total, score) for row, own, total, score in rows]


def _checked_beams(strategy: Strategy, model: GPT) -> int:
    beams, vocab_size = strategy.beams, model.head.out_features
    assert beams is not None, f"{strategy.name} is no beam search"
    if beams > vocab_size:
        raise ConfigError(f"beams = {beams} must be at most {vocab_size}, the tokens of this model's vocabulary")
    return beams
