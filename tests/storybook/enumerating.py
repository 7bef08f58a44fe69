"""A second implementation of the grammar's meaning, for the tests: it lists every story with its exact probability.

It shares only the node types with the engine, works in fractions, and takes all branches instead of drawing one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from typing import NamedTuple

from storyloom.storybook.grammar import (
    Choose,
    Decide,
    Draw,
    Entity,
    Grammar,
    Node,
    Note,
    Refer,
    Scene,
    Sequence,
    Slot,
    Text,
    walk,
)


class Told(NamedTuple):
    """A story, or the part of one that has been told."""

    text: str
    probability: Fraction
    slots: dict[str, Entity]
    facts: dict[str, str]


def every_story(grammar: Grammar) -> Iterator[Told]:
    """Yield every story of the grammar."""
    return _after(grammar, (grammar.scenes[grammar.root],), Told("", Fraction(1), {}, {}))


def _after(grammar: Grammar, todo: tuple[Node, ...], told: Told) -> Iterator[Told]:
    if not todo:
        yield told
        return
    node, rest = todo[0], todo[1:]
    if isinstance(node, Sequence):
        yield from _after(grammar, node.nodes + rest, told)
    elif isinstance(node, Scene):
        yield from _after(grammar, (grammar.scenes[node.name], *rest), told)
    elif isinstance(node, Decide):
        option = dict(node.options)[told.slots[node.slot].form(node.form)]
        yield from _after(grammar, (option, *rest), told)
    elif isinstance(node, Text):
        yield from _after(grammar, rest, told._replace(text=told.text + node.text))
    elif isinstance(node, Refer):
        yield from _after(grammar, rest, told._replace(text=told.text + told.slots[node.slot].form(node.form)))
    elif isinstance(node, Note):
        yield from _after(grammar, rest, told._replace(facts={**told.facts, node.fact: node.value}))
    elif isinstance(node, Choose):
        total = sum(weight for weight, _ in node.alternatives)
        for weight, alternative in node.alternatives:
            yield from _after(grammar, (alternative, *rest), _less(told, weight, total))
    else:
        yield from _drawn(grammar, node, rest, told)


def _drawn(grammar: Grammar, node: Draw, rest: tuple[Node, ...], told: Told) -> Iterator[Told]:
    rivals = [told.slots[name] for name in grammar.slots[node.slot].differs_from if name in told.slots]
    left = [entity for entity in grammar.slots[node.slot].domain if entity.has(node.tag) and entity not in rivals]
    for entity in left:
        now = _less(told, entity.weight, sum(each.weight for each in left))
        slots = {**told.slots, node.slot: entity}
        yield from _after(grammar, rest, now._replace(text=now.text + entity.form(node.form), slots=slots))


def _less(told: Told, weight: int, total: int) -> Told:
    return told._replace(probability=told.probability * Fraction(weight, total))


MOST = 1500
"""Stories of a reduced grammar."""


def reduced(grammar: Grammar, seed: int, whole: tuple[str, ...] = ()) -> tuple[Grammar, list[Told]]:
    """Cut the grammar down until its stories can be listed, and list them.

    Every choice keeps one alternative, but three at a random share of the choice points; the share shrinks until
    there are few enough stories. The scenes named in `whole` keep all their alternatives.
    """
    share = 0.0 if whole else 0.2
    while True:
        smaller = _reduced(grammar, seed, share, whole)
        stories = list(islice(every_story(smaller), MOST + 1))
        if len(stories) <= MOST:
            return smaller, stories
        share *= 0.8


def _reduced(grammar: Grammar, seed: int, share: float, whole: tuple[str, ...]) -> Grammar:
    rng = random.Random(seed)

    def cut(node: Node, keep: bool) -> Node:
        if isinstance(node, Sequence):
            return Sequence(tuple(cut(each, keep) for each in node.nodes))
        if isinstance(node, Decide):
            return replace(node, options=tuple((value, cut(option, keep)) for value, option in node.options))
        if not isinstance(node, Choose):
            return node
        alternatives = list(node.alternatives)
        if not keep:
            alternatives = rng.sample(alternatives, min(len(alternatives), 3 if rng.random() < share else 1))
        return Choose(tuple((weight, cut(alternative, keep)) for weight, alternative in alternatives))

    scenes = {name: cut(scene, name in whole) for name, scene in grammar.scenes.items()}
    tags: dict[str, set[str]] = {name: set() for name in grammar.slots}
    for node in (each for scene in scenes.values() for each in walk(scene)):
        if isinstance(node, Draw):
            tags[node.slot].add(node.tag)
    slots = {name: _cut_slot(slot, tags[name], rng, share) for name, slot in grammar.slots.items()}
    return Grammar(slots, scenes, grammar.root)


def _cut_slot(slot: Slot, tags: set[str], rng: random.Random, share: float) -> Slot:
    """Keep as many entities with each tag as leave one when others are excluded, or one more."""
    most = 1 + len(slot.differs_from) + (1 if rng.random() < share else 0)
    kept: dict[str, Entity] = {}
    for tag in tags:
        kept |= {entity.key: entity for entity in [each for each in slot.domain if each.has(tag)][:most]}
    return replace(slot, domain=tuple(entity for entity in slot.domain if entity.key in kept))
