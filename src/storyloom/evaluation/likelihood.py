"""How surprised a model is by stories: nats/token and bits/byte, with standard errors over stories.

Legend: B rows, T tokens in a row (the block). A story's ids are `start ids eot`; the first is context only, every later
one is scored exactly once, with at least T / 2 tokens before it where its story has them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from storyloom.config import ModelConfig
from storyloom.data import IGNORED, EncodedStory
from storyloom.generation.decoding import telling, where_exact
from storyloom.model import GPT

TOKENS_AT_ONCE = 8192  # in one forward pass
LOGITS_AT_ONCE = 2**25  # 128 MB in fp32; with GPT-2's vocabulary 667 tokens


@dataclass(frozen=True)
class Likelihood:
    """What a model gives some stories: nats, tokens and UTF-8 bytes of each, float64 or int64 (stories,)."""

    nats: np.ndarray
    tokens: np.ndarray
    bytes: np.ndarray

    @property
    def nats_per_token(self) -> float:
        """Total nats over scored tokens, each story's last end-of-text counted in."""
        return float(self.nats.sum() / self.tokens.sum())

    @property
    def perplexity(self) -> float:
        """exp(nats/token)."""
        return math.exp(min(self.nats_per_token, 700.0))

    @property
    def bits_per_byte(self) -> float:
        """Total nats / (ln 2 x UTF-8 bytes of the stories, separators excluded)."""
        return float(self.nats.sum() / math.log(2) / self.bytes.sum())

    @property
    def bits_per_byte_stderr(self) -> float:
        """Standard error of bits/byte, over stories."""
        return ratio_stderr(self.nats / math.log(2), self.bytes)


def ratio_stderr(values: np.ndarray, weights: np.ndarray) -> float:
    """Standard error of sum(values) / sum(weights) over independent pairs (the delta method); nan below two pairs.

    >>> ratio_stderr(np.array([1.0, 3.0]), np.array([1.0, 1.0]))
    1.0
    """
    n = len(values)
    if n < 2:
        return math.nan
    residuals = values - values.sum() / weights.sum() * weights
    return float(math.sqrt(n / (n - 1) * np.square(residuals).sum()) / weights.sum())


def measure_likelihood(model: GPT, stories: Sequence[EncodedStory], eot: int, start: int | None = None) -> Likelihood:
    """Score stories, in fp32 and without dropout.

    Args:
        model: any mode; it is put back.
        stories: at least one.
        eot: the end-of-text token.
        start: the token before a story; None means the end-of-text.
    """
    nats = np.zeros(len(stories))
    first = eot if start is None else start
    with telling(model):
        for batch in _batches(model.config, stories, first, eot):
            np.add.at(nats, [row.story for row in batch], _score(model, batch))
    tokens = np.array([len(story.ids) + 1 for story in stories])
    sizes = np.array([len(story.text.encode("utf-8")) for story in stories])
    return Likelihood(nats, tokens, sizes)


def count_positions(config: ModelConfig, stories: Sequence[EncodedStory], eot: int) -> int:
    """Positions that `measure_likelihood` computes, padding counted in: its time goes with them."""
    return sum(len(batch) * (max(len(row.ids) for row in batch) - 1) for batch in _batches(config, stories, eot, eot))


@dataclass(frozen=True)
class _Row:
    story: int
    ids: np.ndarray  # at most T + 1: inputs and targets overlap
    scored_from: int  # targets before this index of `ids` are context only


def _batches(config: ModelConfig, stories: Sequence[EncodedStory], start: int, eot: int) -> Iterator[list[_Row]]:
    """The rows of some stories; those of like length share a batch, so that little is padding."""
    rows = [row for index, story in enumerate(stories) for row in _windows(index, story, start, eot, config.block_size)]
    rows.sort(key=lambda row: len(row.ids))
    assert config.vocab_size is not None, "vocab_size comes from the data"
    tokens_at_once = min(TOKENS_AT_ONCE, LOGITS_AT_ONCE // config.vocab_size)
    at_once = max(1, tokens_at_once // config.block_size)
    for start in range(0, len(rows), at_once):
        yield rows[start : start + at_once]


def _windows(index: int, story: EncodedStory, first: int, eot: int, block: int) -> list[_Row]:
    """Cut a story into windows of the block; each but the first scores what the ones before did not reach."""
    ids = np.concatenate([[first], story.ids, [eot]])
    rows = [_Row(index, ids[: block + 1], 1)]
    scored, stride = min(len(ids), block + 1), max(1, block // 2)
    while scored < len(ids):
        end = min(scored + stride, len(ids))
        start = end - block - 1
        rows.append(_Row(index, ids[start:end], scored - start))
        scored = end
    return rows


def _score(model: GPT, rows: list[_Row]) -> np.ndarray:
    """The nats of each row's scored targets, float64 (B,)."""
    width = max(len(row.ids) for row in rows) - 1
    inputs = np.zeros((len(rows), width), np.int64)
    targets = np.full((len(rows), width), IGNORED, np.int64)
    for b, row in enumerate(rows):
        inputs[b, : len(row.ids) - 1] = row.ids[:-1]
        targets[b, row.scored_from - 1 : len(row.ids) - 1] = row.ids[row.scored_from :]
    device = model.embedding.weight.device
    logits = model(torch.from_numpy(inputs).to(device)).float()  # (B, T, V)
    surprises = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), torch.from_numpy(targets).to(device), reduction="none"
    )  # (B, T)
    return where_exact(surprises).double().sum(dim=1).cpu().numpy()


def as_dict(likelihood: Likelihood) -> dict[str, Any]:
    """The figures, under the names that the command line and `metrics.jsonl` use."""
    return {
        "nats_per_token": likelihood.nats_per_token,
        "perplexity": likelihood.perplexity,
        "bits_per_byte": likelihood.bits_per_byte,
        "bits_per_byte_stderr": likelihood.bits_per_byte_stderr,
        "tokens": int(likelihood.tokens.sum()),
        "bytes": int(likelihood.bytes.sum()),
        "stories": len(likelihood.nats),
    }
