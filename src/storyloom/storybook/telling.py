"""Telling: a grammar compiled into a chain of small functions that draw a story from top to bottom.

Every choice point owns a table: the cumulative weights to search a uniform draw in, and what each outcome adds to the
story's account in bits. With `probability_table` the account is log2 P(story). With `collision_table` outcomes are
drawn in proportion to their squared probability and each adds log2 of the sum of squares, so that 2**account is an
unbiased estimate of the sum of P(story)**2 over all stories.

It does not know how texts are parsed, nor any word of a story.
"""

from __future__ import annotations

import hashlib
import random
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from math import log2
from typing import TypeVar

from .grammar import Choose, Decide, Draw, Entity, Grammar, Node, Note, Refer, Sequence, Text

Table = tuple[list[float], list[float]]
"""Cumulative probabilities (the last is 1) and bits, one each per outcome."""


def probability_table(weights: list[int]) -> Table:
    """Draw in proportion to the weights; each outcome accounts for its log2 probability.

    >>> probability_table([1, 3, 4])[0], probability_table([1, 1])[1]
    ([0.125, 0.5, 1.0], [-1.0, -1.0])
    """
    total = sum(weights)
    return [part / total for part in accumulate(weights)], [log2(weight / total) for weight in weights]


def collision_table(weights: list[int]) -> Table:
    """Draw in proportion to the squared weights; each outcome accounts for log2 of the point's sum of p squared."""
    squares = [weight * weight for weight in weights]
    total = sum(squares)
    bits = log2(total / sum(weights) ** 2)
    return [part / total for part in accumulate(squares)], [bits] * len(weights)


@dataclass(kw_only=True)
class Progress:
    """What telling and parsing know on their way: who fills which slot, the facts, and the account in bits."""

    slots: dict[str, Entity] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    bits: float = 0.0


P = TypeVar("P", bound=Progress)


def sequence(steps: list[Callable[[P], None]]) -> Callable[[P], None]:
    """One step after the other."""

    def step(progress: P) -> None:
        for each in steps:
            each(progress)

    return step


def decide(node: Decide, options: dict[str, Callable[[P], None]]) -> Callable[[P], None]:
    """The option that an earlier draw has decided."""
    slot, form = node.slot, node.form

    def step(progress: P) -> None:
        options[progress.slots[slot].form(form)](progress)

    return step


def note(node: Note) -> Callable[[Progress], None]:
    """A fact that the text has shown."""
    fact, value = node.fact, node.value

    def step(progress: Progress) -> None:
        progress.facts[fact] = value

    return step


@dataclass
class Telling(Progress):
    """A story on its way: what has been said."""

    uniform: Callable[[], float]
    said: list[str] = field(default_factory=list)


Step = Callable[[Telling], None]


def generator(seed: int, index: int) -> Callable[[], float]:
    """Return the uniform draws in [0, 1) that belong to a story, the same on every platform and Python.

    SHA-256 mixes seed and index into the integer that seeds a Mersenne Twister, whose `random()` Python promises to
    keep; `choices` and `shuffle` carry no such promise and are not used.
    """
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index must be 0 or more, got seed {seed} and index {index}")
    digest = hashlib.sha256(f"{seed}:{index}".encode()).digest()
    return random.Random(int.from_bytes(digest[:8], "big")).random


class Teller:
    """Tells stories of one grammar."""

    def __init__(self, grammar: Grammar, table: Callable[[list[int]], Table] = probability_table) -> None:
        self._grammar = grammar
        self._table = table
        self._scenes: dict[str, Step] = {}
        self._root = self._scene(grammar.root)

    def tell(self, uniform: Callable[[], float]) -> Telling:
        """Tell one story, drawing from `uniform`."""
        telling = Telling(uniform)
        self._root(telling)
        return telling

    def _scene(self, name: str) -> Step:
        if name not in self._scenes:
            self._scenes[name] = self._step(self._grammar.scenes[name])
        return self._scenes[name]

    def _step(self, node: Node) -> Step:
        if isinstance(node, Text):
            return _text(node.text)
        if isinstance(node, Refer):
            return _refer(node)
        if isinstance(node, Draw):
            return self._draw(node)
        if isinstance(node, Choose):
            return self._choose(node)
        if isinstance(node, Sequence):
            return sequence([self._step(each) for each in node.nodes])
        if isinstance(node, Decide):
            return decide(node, {value: self._step(option) for value, option in node.options})
        return note(node) if isinstance(node, Note) else self._scene(node.name)

    def _choose(self, node: Choose) -> Step:
        steps = [self._step(alternative) for _, alternative in node.alternatives]
        limits, bits = self._table([weight for weight, _ in node.alternatives])

        def step(telling: Telling) -> None:
            outcome = bisect_right(limits, telling.uniform())
            telling.bits += bits[outcome]
            steps[outcome](telling)

        return step

    def _draw(self, node: Draw) -> Step:
        tables = DrawTables(self._grammar, node, self._table)
        slot, form = node.slot, node.form

        def step(telling: Telling) -> None:
            entities, limits, bits = tables.after(telling.slots)
            telling.slots[slot] = entity = entities[bisect_right(limits, telling.uniform())]
            telling.bits += bits[entity.key]
            telling.said.append(entity.form(form))

        return step


class DrawTables:
    """The tables of one `Draw`, one for each set of excluded entities, made when first needed."""

    def __init__(self, grammar: Grammar, node: Draw, table: Callable[[list[int]], Table]) -> None:
        self._domain = grammar.domain(node)
        self._others = grammar.slots[node.slot].differs_from
        self._table = table
        self._made: dict[tuple[str, ...], tuple[list[Entity], list[float], dict[str, float]]] = {}

    def after(self, slots: dict[str, Entity]) -> tuple[list[Entity], list[float], dict[str, float]]:
        """Return the entities left when those in `slots` are excluded, their limits, and their bits by key."""
        excluded = tuple([slots[other].key for other in self._others if other in slots])
        if excluded not in self._made:
            left = [entity for entity in self._domain if entity.key not in excluded]
            limits, bits = self._table([entity.weight for entity in left])
            self._made[excluded] = left, limits, {e.key: each for e, each in zip(left, bits, strict=True)}
        return self._made[excluded]


def _text(text: str) -> Step:
    def step(telling: Telling) -> None:
        telling.said.append(text)

    return step


def _refer(node: Refer) -> Step:
    slot, form = node.slot, node.form

    def step(telling: Telling) -> None:
        telling.said.append(telling.slots[slot].form(form))

    return step
