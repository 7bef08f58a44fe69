"""Measure the storybook: its limit, a word 5-gram's loss, the collision entropy, words, plots, lengths and speed.

    python benchmarks/storybook_calibration.py [--train 20000] [--evaluate 1000]

prints one JSON object. The 5-gram is interpolated Kneser-Ney (Chen and Goodman 1999, section 4.1.6) over words with
their leading blank, punctuation and line breaks, so that its probability is one of the very text; of several
discounts the one that suits the evaluated stories best is taken, in the 5-gram's favour.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storyloom import storybook
from storyloom.storybook.checking import survey
from storyloom.storybook.measuring import coincidence, collision_entropy, limit_bits_per_byte

Ids = NDArray[np.int64]

ORDER = 5
TOKEN = re.compile(r" ?[A-Za-z]+|\n| ?[^A-Za-z\s]| ")
PAD, END = 0, 1
DISCOUNTS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9)


class WordNgram:
    """An interpolated Kneser-Ney model of `ORDER` words."""

    def __init__(self, texts: list[str]) -> None:
        words = sorted({token for text in texts for token in TOKEN.findall(text)})
        self.ids = {word: index + 2 for index, word in enumerate(words)}
        self.size = len(self.ids) + 2
        grams = self._grams(texts, ORDER)
        self.levels: list[tuple[Ids, Ids, Ids, Ids, Ids]] = []
        counted, counts = np.unique(grams, return_counts=True)
        for order in range(ORDER, 0, -1):
            contexts, where = np.unique(counted // self.size, return_inverse=True)
            totals = np.bincount(where, weights=counts).astype(np.int64)
            kinds = np.bincount(where).astype(np.int64)
            self.levels.insert(0, (counted, counts, contexts, totals, kinds))
            # Below the highest order a gram counts once for each different word before it.
            counted, counts = np.unique(counted % self.size ** (order - 1), return_counts=True)

    def bits(self, texts: list[str], discount: float) -> float:
        """Return the bits the model needs for `texts`, each with its end."""
        return float(-np.log2(self.probabilities(self._grams(texts, ORDER), discount)).sum())

    def probabilities(self, grams: Ids, discount: float) -> NDArray[np.float64]:
        """Return the probability of the last word of each coded gram after the words before it, (N,)."""
        probability = np.full(len(grams), 1.0 / self.size)
        for order, (counted, counts, contexts, totals, kinds) in enumerate(self.levels, start=1):
            here = grams % self.size**order
            count = _look_up(counted, counts, here)
            total = _look_up(contexts, totals, here // self.size)
            kind = _look_up(contexts, kinds, here // self.size)
            smoothed = (np.maximum(count - discount, 0.0) + discount * kind * probability) / np.maximum(total, 1)
            probability = np.where(total > 0, smoothed, probability)
        return probability

    def _grams(self, texts: list[str], order: int) -> Ids:
        """Return the code of the `order` words up to and with each word of each text, (N,)."""
        flat: list[int] = []
        for text in texts:
            flat += [PAD] * (order - 1) + [self.ids[token] for token in TOKEN.findall(text)] + [END]
        ids = np.array(flat, dtype=np.int64)
        codes = np.zeros(len(ids) - order + 1, dtype=np.int64)
        for place in range(order):
            codes = codes * self.size + ids[place : place + len(codes)]
        return codes[ids[order - 1 :] != PAD]


def _look_up(keys: Ids, values: Ids, wanted: Ids) -> Ids:
    """Return the value of each wanted key, 0 where it is not among the sorted `keys`."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)


def ngram_bits_per_byte(train: int, evaluate: int, seed: int = 0) -> float:
    """Train on `train` stories and return the bits per byte on `evaluate` others."""
    model = WordNgram([story.text for story in storybook.stories(seed, train)])
    texts = [story.text for story in storybook.stories(seed, evaluate, start=train)]
    return min(model.bits(texts, discount) for discount in DISCOUNTS) / sum(len(text.encode()) for text in texts)


def speed(count: int = 3000) -> tuple[float, float]:
    """Return stories told and stories parsed per second."""
    start = time.perf_counter()
    told = list(storybook.stories(1, count))
    told_at = time.perf_counter()
    for story in told:
        storybook.parse(story.text)
    return count / (told_at - start), count / (time.perf_counter() - told_at)


def measure(train: int, evaluate: int, samples: int = 20_000) -> dict[str, Any]:
    """Return all figures."""
    stories = list(storybook.stories(0, evaluate, start=train))
    limit = limit_bits_per_byte(stories)
    ngram = ngram_bits_per_byte(train, evaluate)
    grammar = storybook.the_grammar()
    entropy = collision_entropy(grammar, samples)
    surveyed = survey(grammar, storybook.FACTS)
    sizes = [len(story.text.encode()) for story in stories]
    told, parsed = speed()
    return {
        "version": storybook.VERSION,
        "limit_bits_per_byte": round(limit, 4),
        "word_5gram_bits_per_byte": round(ngram, 4),
        "word_5gram_over_limit": round(ngram / limit, 3),
        "collision_entropy_bits": round(entropy, 1),
        "coincidence_among_a_million": coincidence(entropy, 1_000_000),
        "distinct_words": len(surveyed.words),
        "plots": len({story.facts.plot for story in stories}),
        "least_bytes": surveyed.bounds[0],
        "most_bytes": surveyed.bounds[1],
        "mean_bytes": round(sum(sizes) / len(sizes), 1),
        "told_per_second": round(told),
        "parsed_per_second": round(parsed),
        "problems": surveyed.problems,
    }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, default=20_000, help="stories the 5-gram is trained on")
    parser.add_argument("--evaluate", type=int, default=1_000, help="other stories, evaluated")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.train, arguments.evaluate), indent=2))


if __name__ == "__main__":
    main()
