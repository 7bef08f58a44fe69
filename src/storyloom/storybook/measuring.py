"""Measures of a grammar as a whole: the limit on its stories, and how unlikely it is to tell the same story twice.

It does not know models; `benchmarks/storybook_calibration.py` sets a word 5-gram beside these figures.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import log2
from typing import TYPE_CHECKING

from .grammar import Grammar
from .telling import Teller, collision_table, generator

if TYPE_CHECKING:
    from . import Story


def limit_bits_per_byte(stories: Iterable[Story]) -> float:
    """Return the bits per UTF-8 byte below which no model's average over these stories is expected to fall.

    >>> from . import stories
    >>> 0.15 < limit_bits_per_byte(stories(seed=3, count=100)) < 0.40
    True
    """
    bits, size = 0.0, 0
    for story in stories:
        bits -= story.log2_probability
        size += len(story.text.encode())
    return bits / size


def collision_entropy(grammar: Grammar, samples: int, seed: int = 0) -> float:
    """Estimate -log2 of the probability that two stories told independently are the same.

    That probability is the sum of P(story)**2. Each sample walks the grammar with squared weights, and the product
    of the sums of squares that it passes is an unbiased estimate of little variance.
    """
    teller = Teller(grammar, collision_table)
    total = sum(2.0 ** teller.tell(generator(seed, index)).bits for index in range(samples))
    return -log2(total / samples)


def coincidence(entropy: float, stories: int) -> float:
    """Bound the probability that any two of `stories` stories are the same, given the collision entropy in bits.

    >>> coincidence(60.0, 1_000_000) < 1e-6 < coincidence(58.0, 1_000_000)
    True
    """
    return stories * (stories - 1) / 2 * 2.0**-entropy
