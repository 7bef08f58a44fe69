"""Static checks over a whole grammar: it is read once from the root with everything that each slot could hold.

What is proved here holds for every story, told or not: its alternatives cannot be mistaken for one another, every
reference has its entity and its form, every fact is noted once, every scene and entity can occur, and every length lies
within the bounds. It does not know whether a story makes sense; that takes a reader.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from .grammar import Choose, Decide, Draw, Entity, Grammar, Node, Note, Refer, Scene, Sequence, Text, walk
from .openings import AmbiguousError, Openings

WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")


@dataclass
class Situation:
    """What may hold at a point: the entities each slot could have, the slots and facts certain to be there."""

    slots: dict[str, dict[str, Entity]] = field(default_factory=dict[str, dict[str, Entity]])
    certain: set[str] = field(default_factory=set[str])
    noted: set[str] = field(default_factory=set[str])
    noted_for_certain: set[str] = field(default_factory=set[str])

    def copy(self) -> Situation:
        """Return a copy that can be changed."""
        return Situation(
            {slot: dict(held) for slot, held in self.slots.items()},
            set(self.certain),
            set(self.noted),
            set(self.noted_for_certain),
        )

    def either(self, other: Situation) -> Situation:
        """Return what may hold where this or the other situation holds."""
        merged = self.copy()
        for slot, held in other.slots.items():
            merged.slots.setdefault(slot, {}).update(held)
        merged.certain &= other.certain
        merged.noted |= other.noted
        merged.noted_for_certain &= other.noted_for_certain
        return merged


Bounds = tuple[int, int]


@dataclass
class Survey:
    """What one reading of the grammar found."""

    bounds: Bounds
    """The least and the greatest length of a story, in bytes (the texts are ASCII)."""
    problems: list[str]
    words: set[str]
    """Every word that a story can have, in small letters."""


def survey(grammar: Grammar, facts: Collection[str] = ()) -> Survey:
    """Read `grammar` from its root; each story must note each of `facts` exactly once.

    >>> from .notation import read
    >>> found = survey(Grammar({}, {"story": read("(A dog|A doe) ran.")}))
    >>> found.bounds, found.problems, sorted(found.words)
    ((10, 10), [], ['a', 'doe', 'dog', 'ran'])
    """
    missing = list(_missing(grammar))
    if missing:
        return Survey((0, 0), missing, set())
    reader = _Reader(grammar)
    situation = Situation()
    bounds = reader.read(grammar.scenes[grammar.root], situation)
    for fact in sorted(set(facts) ^ situation.noted_for_certain):
        reader.report(f"the fact {fact!r} is not noted in every story, or is none of the facts")
    problems = list(reader.problems) + list(_idle(grammar, reader)) + list(_ambiguous(grammar))
    return Survey(bounds, problems, reader.words)


def _missing(grammar: Grammar) -> Iterator[str]:
    """Report scenes and slots that are named but do not exist."""
    if grammar.root not in grammar.scenes:
        yield f"there is no scene {grammar.root!r}"
    for name, scene in grammar.scenes.items():
        for node in walk(scene):
            if isinstance(node, Scene) and node.name not in grammar.scenes:
                yield f"scene {name!r}: there is no scene {node.name!r}"
            if isinstance(node, (Refer, Draw, Decide)) and node.slot not in grammar.slots:
                yield f"scene {name!r}: there is no slot {node.slot!r}"


class _Reader:
    """Follows all paths at once, joining them again after each choice."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.problems: dict[str, None] = {}
        self.words: set[str] = set()
        self.scenes: list[str] = [grammar.root]
        self.seen: set[str] = {grammar.root}
        self.drawn: set[tuple[str, str]] = set()

    def report(self, problem: str) -> None:
        self.problems[f"scene {self.scenes[-1]!r}: {problem}"] = None

    def read(self, node: Node, situation: Situation) -> Bounds:
        """Return the bounds of what `node` shows, and change `situation` into the one after it."""
        if isinstance(node, Text):
            return self._shown([node.text])
        if isinstance(node, Refer):
            return self._shown(self._forms(node, situation))
        if isinstance(node, Draw):
            return self._draw(node, situation)
        if isinstance(node, Sequence):
            parts = [self.read(each, situation) for each in node.nodes]
            return sum(least for least, _ in parts), sum(most for _, most in parts)
        if isinstance(node, Note):
            return self._note(node, situation)
        if isinstance(node, Scene):
            return self._scene(node, situation)
        if isinstance(node, Choose):
            return self._choose(node, situation)
        return self._decide(node, situation)

    def _shown(self, texts: Collection[str]) -> Bounds:
        for text in texts:
            self.words.update(WORD.findall(text.lower()))
            if not text.isascii() or "  " in text or " \n" in text or "\n " in text:
                self.report(f"{text!r} is not clean ASCII text")
        return min((len(t) for t in texts), default=0), max((len(t) for t in texts), default=0)

    def _forms(self, node: Refer | Decide, situation: Situation) -> list[str]:
        if node.slot not in situation.certain:
            self.report(f"{node.slot!r} is referred to but not sure to be drawn")
        found: list[str] = []
        for entity in situation.slots.get(node.slot, {}).values():
            if entity.knows(node.form):
                found.append(entity.form(node.form))
            else:
                self.report(f"{node.slot!r} could be {entity.key!r}, which has no form {node.form!r}")
        return found

    def _draw(self, node: Draw, situation: Situation) -> Bounds:
        if node.slot in situation.slots:
            self.report(f"{node.slot!r} is drawn twice")
        domain = self.grammar.domain(node)
        rivals = [other for other in self.grammar.slots[node.slot].differs_from if other in situation.slots]
        if len(domain) <= len(rivals):
            self.report(f"nothing may be left to draw for {node.slot!r} with tag {node.tag!r}")
        situation.slots[node.slot] = {entity.key: entity for entity in domain}
        situation.certain.add(node.slot)
        self.drawn.update((node.slot, entity.key) for entity in domain)
        texts = sorted(self._forms(Refer(node.slot, node.form), situation))
        for one, two in pairwise(texts):
            if two.startswith(one):
                self.report(f"{one!r} and {two!r} can both be drawn for {node.slot!r}, and one begins the other")
        return self._shown(texts)

    def _note(self, node: Note, situation: Situation) -> Bounds:
        if node.fact in situation.noted:
            self.report(f"the fact {node.fact!r} is noted twice")
        situation.noted.add(node.fact)
        situation.noted_for_certain.add(node.fact)
        return 0, 0

    def _scene(self, node: Scene, situation: Situation) -> Bounds:
        if node.name in self.scenes:
            self.report(f"{node.name!r} plays itself")
            return 0, 0
        self.seen.add(node.name)
        self.scenes.append(node.name)
        bounds = self.read(self.grammar.scenes[node.name], situation)
        self.scenes.pop()
        return bounds

    def _choose(self, node: Choose, situation: Situation) -> Bounds:
        if any(weight < 1 for weight, _ in node.alternatives):
            self.report("a weight is below 1")
        return self._either([alternative for _, alternative in node.alternatives], situation)

    def _decide(self, node: Decide, situation: Situation) -> Bounds:
        values, options = set(self._forms(node, situation)), dict(node.options)
        if values != options.keys():
            self.report(f"{node.slot}.{node.form} can be {sorted(values)}, with options for {sorted(options)}")
        return self._either(list(options.values()), situation)

    def _either(self, nodes: list[Node], situation: Situation) -> Bounds:
        before, merged, bounds = situation.copy(), None, list[Bounds]()
        for node in nodes:
            after = before.copy()
            bounds.append(self.read(node, after))
            merged = merged.either(after) if merged else after
            if bounds[-1][0] == 0:
                self.report("an alternative can be empty")
        situation.__dict__.update((merged or before).__dict__)
        return min(least for least, _ in bounds), max(most for _, most in bounds)


def _idle(grammar: Grammar, reader: _Reader) -> Iterator[str]:
    """Report scenes that are never played and entities that are never drawn."""
    for name in grammar.scenes.keys() - reader.seen:
        yield f"scene {name!r} is never played"
    for slot in grammar.slots.values():
        for entity in slot.domain:
            if (slot.name, entity.key) not in reader.drawn:
                yield f"{entity.key!r} is never drawn for {slot.name!r}"


def _ambiguous(grammar: Grammar) -> Iterator[str]:
    """Report choice points with alternatives that cannot be told apart."""
    openings = Openings(grammar)
    for name, scene in grammar.scenes.items():
        for node in walk(scene):
            if isinstance(node, Choose):
                try:
                    openings.tell_apart([alternative for _, alternative in node.alternatives])
                except AmbiguousError as error:
                    yield f"scene {name!r}: {error}"
