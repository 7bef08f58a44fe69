"""What a story grammar is made of: entities, slots, seven kinds of node, and the grammar that holds them.

A grammar is a directed graph without cycles. Telling walks it top to bottom; the only random steps are `Choose` (one
of several texts) and `Draw` (an entity for a slot), and both stand exactly where the text first shows their outcome.

This module does not know how stories are told, parsed or checked, and it holds not one word of any story.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Entity:
    """Somebody or something that can fill a slot: a child, an animal, a toy, a place.

    `forms` maps a form's name to its text; the form `name` always exists, and a form's name written with a capital
    gives the same text with a capital.

    >>> kite = Entity("kite", (("name", "kite"), ("it", "it")), tags=("toy",))
    >>> kite.form("It"), kite.has("toy")
    ('It', True)
    """

    key: str
    forms: tuple[tuple[str, str], ...]
    tags: tuple[str, ...] = ()
    weight: int = 1

    @cached_property
    def _table(self) -> dict[str, str]:
        return dict(self.forms)

    def form(self, name: str) -> str:
        """Return the text of the form called `name`; raises `KeyError` where the entity has no such form."""
        if name in self._table:
            return self._table[name]
        lower = self._table[name[0].lower() + name[1:]]
        return lower[0].upper() + lower[1:]

    def knows(self, name: str) -> bool:
        """Say whether the entity has a form called `name`."""
        return name in self._table or name[0].lower() + name[1:] in self._table

    def has(self, tag: str) -> bool:
        """Say whether the entity carries `tag`; the empty tag is carried by all."""
        return not tag or tag in self.tags


@dataclass(frozen=True)
class Slot:
    """A part in the story that an entity is drawn for once and that later text refers to.

    `differs_from` names slots whose entity this one may not be: the remaining weights are renormalised.
    """

    name: str
    domain: tuple[Entity, ...]
    differs_from: tuple[str, ...] = ()


@dataclass(frozen=True)
class Text:
    """Words that always stand here."""

    text: str


@dataclass(frozen=True)
class Refer:
    """A form of the entity that was drawn earlier for `slot`."""

    slot: str
    form: str = "name"


@dataclass(frozen=True)
class Draw:
    """Draws an entity with `tag` for `slot` and shows its `form`: a choice point."""

    slot: str
    form: str = "name"
    tag: str = ""


@dataclass(frozen=True)
class Choose:
    """Takes one of the weighted alternatives: a choice point."""

    alternatives: tuple[tuple[int, Node], ...]


@dataclass(frozen=True)
class Sequence:
    """Nodes one after the other."""

    nodes: tuple[Node, ...]


@dataclass(frozen=True)
class Decide:
    """Goes on with the option named by a form of an earlier entity. Nothing is random here: the text has shown it."""

    slot: str
    form: str
    options: tuple[tuple[str, Node], ...]


@dataclass(frozen=True)
class Note:
    """Records a fact of the story; shows no text."""

    fact: str
    value: str


@dataclass(frozen=True)
class Scene:
    """Plays the scene of that name, which other scenes may share."""

    name: str


Node = Text | Refer | Draw | Choose | Sequence | Decide | Note | Scene


@dataclass(frozen=True)
class Grammar:
    """Slots and scenes; stories begin with the scene `root`."""

    slots: Mapping[str, Slot]
    scenes: Mapping[str, Node]
    root: str = "story"

    def domain(self, draw: Draw) -> tuple[Entity, ...]:
        """Return the entities that `draw` chooses from when nothing is excluded."""
        return tuple(entity for entity in self.slots[draw.slot].domain if entity.has(draw.tag))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything the grammar says, in hexadecimal: it changes whenever a word or a weight does."""
        content = (self.root, sorted(self.slots.items()), sorted(self.scenes.items(), key=lambda item: item[0]))
        return hashlib.sha256(repr(content).encode()).hexdigest()


def children(node: Node) -> tuple[Node, ...]:
    """Return the nodes directly below `node`; a `Scene` is a leaf here (its node lies in `Grammar.scenes`)."""
    if isinstance(node, Choose):
        return tuple(alternative for _, alternative in node.alternatives)
    if isinstance(node, Decide):
        return tuple(option for _, option in node.options)
    return node.nodes if isinstance(node, Sequence) else ()


def walk(node: Node) -> Iterator[Node]:
    """Yield `node` and everything below it, not entering other scenes.

    >>> [type(n).__name__ for n in walk(Sequence((Text("a"), Scene("b"))))]
    ['Sequence', 'Text', 'Scene']
    """
    yield node
    for child in children(node):
        yield from walk(child)
