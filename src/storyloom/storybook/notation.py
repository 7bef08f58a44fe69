"""The little notation that scenes are written in, turned into the nodes of `grammar`.

    "words"                        stand as they are
    "{hero}" "{hero.his}"          a form of the entity drawn earlier for a slot
    "{+hero}" "{+toy:floats}"      draws an entity (with that tag) for the slot, and shows it; "{+toy.a}" shows a form
    "(big|small|2*green)"          one of these; the last is twice as likely
    "[thanks]"                     plays the scene of that name
    "{trouble=lost}"               records a fact, shows nothing
    ("...", "...")                 a tuple: one of these, at equal weights; `weighted(2, "...")` changes one
    ["...", "..."]                 a list: one after the other, with a blank between
    lines("...", "...")            one after the other, with a line break between
    by("place.kind", shore="...")  the option named by a form of an earlier entity

It does not know any slot, scene or form by name; `checking` finds names that do not exist.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from .grammar import Choose, Decide, Draw, Node, Note, Refer, Scene, Sequence, Text


@dataclass(frozen=True)
class Weighted:
    """An alternative of a tuple that is `weight` times as likely as one without a weight."""

    weight: int
    written: Written


@dataclass(frozen=True)
class Lines:
    """Parts with a line break between them."""

    parts: tuple[Written, ...]


@dataclass(frozen=True)
class By:
    """The option named by a form of an earlier entity."""

    slot: str
    form: str
    options: tuple[tuple[str, Written], ...]


Written = str | tuple["Written | Weighted", ...] | list["Written"] | Lines | By

_MARKS = re.compile(r"[{}()\[\]|]")
_DRAW = re.compile(r"\+(\w+)(?:\.(\w+))?(?::(\w+))?")
_REFER = re.compile(r"(\w+)(?:\.(\w+))?")
_WEIGHT = re.compile(r"(\d+)\*")


def weighted(weight: int, written: Written) -> Weighted:
    """Give an alternative of a tuple another weight than 1."""
    return Weighted(weight, written)


def lines(*parts: Written) -> Lines:
    """Put a line break between the parts."""
    return Lines(parts)


def by(slot_and_form: str, **options: Written) -> By:
    """Go on with the option that a form of an earlier entity names, as in `by("place.kind", shore="...")`."""
    slot, _, form = slot_and_form.partition(".")
    return By(slot, form, tuple(options.items()))


def read(written: Written) -> Node:
    """Turn what is written into a node.

    >>> read("(A|2*No) {+pet}")  # doctest: +ELLIPSIS
    Sequence(nodes=(Choose(alternatives=((1, Text(text='A')), (2, Text(text='No')))), Text(text=' '), Draw(...)))
    """
    if isinstance(written, str):
        return _Reader(written).whole()
    if isinstance(written, tuple):
        return Choose(tuple(_alternative(each) for each in written))
    if isinstance(written, By):
        return Decide(written.slot, written.form, tuple((value, read(option)) for value, option in written.options))
    if isinstance(written, Lines):
        return _joined("\n", [read(part) for part in written.parts])
    return _joined(" ", [read(part) for part in written])


def _alternative(written: Written | Weighted) -> tuple[int, Node]:
    return (written.weight, read(written.written)) if isinstance(written, Weighted) else (1, read(written))


def _joined(between: str, nodes: list[Node]) -> Node:
    spaced: list[Node] = []
    for node in nodes:
        spaced += [Text(between), node] if spaced else [node]
    return Sequence(tuple(spaced))


class _Reader:
    """Reads one string of the notation from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.marks: Iterator[re.Match[str]] = _MARKS.finditer(text)
        self.position = 0

    def whole(self) -> Node:
        node, mark = self._run()
        if mark:
            raise ValueError(f"unexpected {mark!r} in the scene text {self.text!r}")
        return node

    def _run(self) -> tuple[Node, str]:
        """Read up to the end, a bar or a closing mark, which is returned too."""
        nodes: list[Node] = []
        for match in self.marks:
            if match.start() > self.position:
                nodes.append(Text(self.text[self.position : match.start()]))
            self.position = match.end()
            if match[0] == "(":
                nodes.append(self._choice())
            elif match[0] in "{[":
                nodes.append(self._braces(match[0]))
            else:
                return _single(nodes), match[0]
        if self.position < len(self.text):
            nodes.append(Text(self.text[self.position :]))
            self.position = len(self.text)
        return _single(nodes), ""

    def _choice(self) -> Node:
        alternatives: list[tuple[int, Node]] = []
        mark = "|"
        while mark == "|":
            weight = _WEIGHT.match(self.text, self.position)
            if weight:
                self.position = weight.end()
            node, mark = self._run()
            alternatives.append((int(weight[1]) if weight else 1, node))
        if mark != ")":
            raise ValueError(f"a choice is not closed in the scene text {self.text!r}")
        return Choose(tuple(alternatives))

    def _braces(self, opening: str) -> Node:
        closing = next(self.marks, None)
        if closing is None or closing[0] != {"{": "}", "[": "]"}[opening]:
            raise ValueError(f"{opening!r} is not closed in the scene text {self.text!r}")
        inside = self.text[self.position : closing.start()]
        self.position = closing.end()
        return Scene(inside) if opening == "[" else self._slot(inside)

    def _slot(self, inside: str) -> Node:
        if "=" in inside:
            fact, _, value = inside.partition("=")
            return Note(fact, value)
        if draw := _DRAW.fullmatch(inside):
            return Draw(draw[1], draw[2] or "name", draw[3] or "")
        if refer := _REFER.fullmatch(inside):
            return Refer(refer[1], refer[2] or "name")
        raise ValueError(f"{{{inside}}} is not a slot in the scene text {self.text!r}")


def _single(nodes: list[Node]) -> Node:
    return nodes[0] if len(nodes) == 1 else Sequence(tuple(nodes))
