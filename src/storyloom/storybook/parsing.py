"""Parsing: a text followed through the grammar, which gives its probability and facts or the place where it leaves.

At each choice point the openings that `openings` has proved distinct name the only alternative that can match, so the
parser never goes back. Its account of bits adds the same numbers in the same order as telling does.

It does not know what a story means, nor how likely a text outside the grammar is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .grammar import Choose, Decide, Draw, Grammar, Node, Note, Refer, Sequence, Text
from .openings import Given, Opening, Openings
from .telling import DrawTables, Progress, decide, note, probability_table, sequence

EXCERPT = 24
"""Characters shown of what was expected and of what was found."""


REPORTED = 96
"""Characters that a report of what was expected looks ahead."""


class LeftError(Exception):
    """The text leaves the grammar at `position`, where it allowed the texts in `expected`."""

    def __init__(self, position: int, expected: list[str]) -> None:
        super().__init__(position, expected)
        self.position = position
        self.expected = expected


@dataclass
class Parsing(Progress):
    """A text on its way through the grammar: the position reached."""

    text: str
    position: int = 0


Step = Callable[[Parsing], None]


class Parser:
    """Parses texts of one grammar."""

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._openings = Openings(grammar)
        self._scenes: dict[str, Step] = {}
        self._root = self._scene(grammar.root)

    def parse(self, text: str) -> Parsing:
        """Follow `text` from its beginning to its end; raises `LeftError` where it leaves the grammar."""
        parsing = Parsing(text)
        self._root(parsing)
        if parsing.position != len(text):
            raise LeftError(parsing.position, ["(the end)"])
        return parsing

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
        _, bits = probability_table([weight for weight, _ in node.alternatives])
        nodes = [alternative for _, alternative in node.alternatives]
        openings = self._openings.tell_apart(nodes)
        find = _finder([(opening, outcome) for outcome, group in enumerate(openings) for opening in group])

        def step(parsing: Parsing) -> None:
            outcome = find(parsing)
            if outcome is None:
                raise _nearest(parsing, [each for one in nodes for each in self._openings.within(one, REPORTED)])
            parsing.bits += bits[outcome]
            steps[outcome](parsing)

        return step

    def _draw(self, node: Draw) -> Step:
        tables = DrawTables(self._grammar, node, probability_table)
        slot, form = node.slot, node.form
        index = _Index([((entity.form(form),), place) for place, entity in enumerate(self._grammar.domain(node))])
        domain = self._grammar.domain(node)

        def step(parsing: Parsing) -> None:
            left, _, bits = tables.after(parsing.slots)
            place = index.find(parsing.text, parsing.position)
            entity = domain[place] if place is not None else None
            if entity is None or entity.key not in bits:
                raise _nearest(parsing, [(each.form(form),) for each in left])
            parsing.bits += bits[entity.key]
            parsing.slots[slot] = entity
            parsing.position += len(entity.form(form))

        return step


class _Index:
    """Finds which of several plain texts stands at a position, by the characters that all of them have."""

    def __init__(self, pairs: list[tuple[Opening, int]]) -> None:
        texts = [(str(opening[0]), outcome) for opening, outcome in pairs]
        self.width = min(len(text) for text, _ in texts)
        self.buckets: dict[str, list[tuple[str, int]]] = {}
        for text, outcome in texts:
            self.buckets.setdefault(text[: self.width], []).append((text, outcome))

    def find(self, text: str, position: int) -> int | None:
        for candidate, outcome in self.buckets.get(text[position : position + self.width], ()):
            if text.startswith(candidate, position):
                return outcome
        return None


def _finder(pairs: list[tuple[Opening, int]]) -> Callable[[Parsing], int | None]:
    """Return the function that finds the outcome whose opening stands ahead, if there is one."""
    plain = [pair for pair in pairs if len(pair[0]) == 1 and isinstance(pair[0][0], str)]
    others = [pair for pair in pairs if pair not in plain]
    index = _Index(plain) if plain else None

    def find(parsing: Parsing) -> int | None:
        if index is not None:
            outcome = index.find(parsing.text, parsing.position)
            if outcome is not None:
                return outcome
        for opening, outcome in others:
            if _stands(opening, parsing):
                return outcome
        return None

    return find


def _stands(opening: Opening, parsing: Parsing) -> bool:
    """Say whether the opening stands ahead, given who fills which slot."""
    position = parsing.position
    for part in opening:
        if isinstance(part, Given):
            if parsing.slots[part.slot].form(part.form) != part.value:
                return False
            continue
        text = part if isinstance(part, str) else parsing.slots[part.slot].form(part.form)
        if not parsing.text.startswith(text, position):
            return False
        position += len(text)
    return True


def _nearest(parsing: Parsing, openings: list[Opening]) -> LeftError:
    """Return the error at the furthest character that any of the openings reaches."""
    reached: dict[int, list[str]] = {}
    for opening in openings:
        givens = [part for part in opening if isinstance(part, Given)]
        if any(parsing.slots[part.slot].form(part.form) != part.value for part in givens):
            continue
        shown = [
            p if isinstance(p, str) else parsing.slots[p.slot].form(p.form) for p in opening if not isinstance(p, Given)
        ]
        whole = "".join(shown)
        common = _common(whole, parsing.text, parsing.position)
        if common < len(whole):
            reached.setdefault(common, []).append(whole[common : common + EXCERPT])
    furthest = max(reached)
    return LeftError(parsing.position + furthest, list(dict.fromkeys(reached[furthest])))


def _common(expected: str, text: str, position: int) -> int:
    """Return how many characters of `expected` stand in `text` at `position`."""
    count = 0
    for mine, theirs in zip(expected, text[position : position + len(expected)], strict=False):
        if mine != theirs:
            break
        count += 1
    return count


def _match(parsing: Parsing, text: str) -> None:
    if not parsing.text.startswith(text, parsing.position):
        raise _nearest(parsing, [(text,)])
    parsing.position += len(text)


def _text(text: str) -> Step:
    length = len(text)

    def step(parsing: Parsing) -> None:
        if not parsing.text.startswith(text, parsing.position):
            raise _nearest(parsing, [(text,)])
        parsing.position += length

    return step


def _refer(node: Refer) -> Step:
    slot, form = node.slot, node.form

    def step(parsing: Parsing) -> None:
        _match(parsing, parsing.slots[slot].form(form))

    return step
