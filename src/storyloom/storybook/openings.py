"""Openings: how the texts of an alternative can begin, just far enough to tell the alternatives apart.

The law that makes the grammar unambiguous is here: at a choice point no text of one alternative may be the beginning
of a text of another. `tell_apart` proves it for every entity that a slot could hold, and in proving it finds the
openings by which the parser recognises the alternatives, so that what was proved is exactly what is used.

It proves more: the alternatives differ no later than in the first thing that either of them draws. So nothing is
decided in secret, to be shown only after other random steps.

It does not know how a story goes on after the choice point: the alternatives alone must differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from .grammar import Choose, Decide, Draw, Entity, Grammar, Node, Note, Refer, Scene, Sequence, Text, walk

REACHES = (3, 6, 12, 24, 48, 96)
"""Characters to look ahead, tried in turn: alternatives must differ within the last."""

MOST_OPENINGS = 20_000
"""An alternative that can begin in more ways than this needs an earlier difference."""


@dataclass(frozen=True)
class Given:
    """Holds where the entity in `slot` has `value` as its `form`; shows no text."""

    slot: str
    form: str
    value: str


Part = str | Refer | Given
Opening = tuple[Part, ...]


class AmbiguousError(ValueError):
    """Two alternatives of a choice point can begin with the same text."""


class Openings:
    """Computes openings over one grammar."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.domains: dict[str, dict[str, Entity]] = {}
        for node in (node for scene in grammar.scenes.values() for node in _draws(scene)):
            self.domains.setdefault(node.slot, {}).update({e.key: e for e in grammar.domain(node)})

    def tell_apart(self, alternatives: list[Node]) -> list[list[Opening]]:
        """Return for each alternative its openings, of which none can meet one of another alternative.

        Raises `AmbiguousError` with two that can.
        """
        clash = None
        for reach in REACHES:
            openings = [self.within(node, reach) for node in alternatives]
            clash = self._clash(openings)
            if clash is None:
                return openings
        assert clash is not None
        raise AmbiguousError(f"{show(clash[0])!r} and {show(clash[1])!r} are alternatives of one choice")

    def within(self, node: Node, reach: int) -> list[Opening]:
        """Return the openings of `node`, cut after `reach` characters."""
        found: dict[Opening, None] = {}
        for opening in self._expand((node,), {}, reach):
            found[_merged(opening)] = None
            if len(found) > MOST_OPENINGS:
                raise AmbiguousError(f"an alternative begins in too many ways, such as {show(opening)!r}")
        return list(found)

    def _expand(
        self, todo: tuple[Node, ...], drawn: dict[str, Entity], reach: int, shown_at: int | None = None
    ) -> Iterator[Opening]:
        """Yield the openings of the nodes in `todo`, where the slots in `drawn` are already known.

        `shown_at` is the reach that was left at the first random step. What follows that step, and another random
        step further on, are too late to tell alternatives apart: the opening ends there.
        """
        if not todo or reach <= 0:
            yield ()
            return
        node, rest = todo[0], todo[1:]
        if isinstance(node, (Choose, Draw)):
            if shown_at not in (None, reach):
                yield ()
                return
            shown_at, rest = reach, ()
        if isinstance(node, (Sequence, Scene, Choose, Note)):
            for nodes in self._inside(node):
                yield from self._expand(nodes + rest, drawn, reach, shown_at)
        else:
            for part, shown, now_drawn, more in self._first(node, drawn):
                cut = part[:reach] if isinstance(part, str) else part
                for others in self._expand(more + rest, now_drawn, reach - shown, shown_at):
                    yield (cut, *others)

    def _inside(self, node: Sequence | Scene | Choose | Note) -> Iterator[tuple[Node, ...]]:
        """Yield what stands in the place of a node that shows no text of its own, once for each way."""
        if isinstance(node, Choose):
            yield from ((alternative,) for _, alternative in node.alternatives)
        elif isinstance(node, Scene):
            yield (self.grammar.scenes[node.name],)
        else:
            yield node.nodes if isinstance(node, Sequence) else ()

    def _first(
        self, node: Text | Refer | Draw | Decide, drawn: dict[str, Entity]
    ) -> Iterator[tuple[Part, int, dict[str, Entity], tuple[Node, ...]]]:
        """Yield what `node` can show first: a part, its least length, the slots drawn by then, nodes still to show."""
        if isinstance(node, Text):
            yield node.text, len(node.text), drawn, ()
        elif isinstance(node, Draw):
            for entity in self.grammar.domain(node):
                text = entity.form(node.form)
                yield text, len(text), {**drawn, node.slot: entity}, ()
        elif node.slot in drawn:
            text = drawn[node.slot].form(node.form)
            if isinstance(node, Refer):
                yield text, len(text), drawn, ()
            else:
                yield "", 0, drawn, (dict(node.options)[text],)
        elif isinstance(node, Refer):
            holders = [e for e in self.domains[node.slot].values() if e.knows(node.form)]
            yield node, min(len(entity.form(node.form)) for entity in holders), drawn, ()
        else:
            for value, option in node.options:
                yield Given(node.slot, node.form, value), 0, drawn, (option,)

    def _clash(self, openings: list[list[Opening]]) -> tuple[Opening, Opening] | None:
        """Return two openings of different alternatives that can meet, or None."""
        plain: list[tuple[str, int, Opening]] = []
        others: list[tuple[int, Opening]] = []
        for index, group in enumerate(openings):
            for opening in group:
                if len(opening) == 1 and isinstance(opening[0], str):
                    plain.append((opening[0], index, opening))
                else:
                    others.append((index, opening))
        plain.sort(key=lambda item: item[:2])
        # Sorted, a text stands right before those it begins; equal alternatives between them change nothing.
        for (text, index, opening), (next_text, next_index, next_opening) in pairwise(plain):
            if index != next_index and next_text.startswith(text):
                return opening, next_opening
        for place, (index, opening) in enumerate(others):
            rivals = [(i, o) for _, i, o in plain] + others[place + 1 :]
            for other_index, other in rivals:
                if index != other_index and self._meet(opening, other, {}):
                    return opening, other
        return None

    def _meet(self, one: Opening, two: Opening, held: dict[str, Entity]) -> bool:
        """Say whether the two openings agree until one of them ends, for some entities in the slots."""
        if not one or not two:
            return True
        if one[0] == two[0] and not isinstance(one[0], Given):
            return self._meet(one[1:], two[1:], held)
        for mine, theirs in ((one, two), (two, one)):
            first = mine[0]
            if isinstance(first, str):
                continue
            if first.slot not in held:
                entities = self._candidates(first.slot, first.form, held)
                return any(self._meet(one, two, {**held, first.slot: entity}) for entity in entities)
            text = held[first.slot].form(first.form)
            if isinstance(first, Given):
                return text == first.value and self._meet(mine[1:], theirs, held)
            return self._meet((text, *mine[1:]), theirs, held)
        left, right = one[0], two[0]
        assert isinstance(left, str)
        assert isinstance(right, str)
        length = min(len(left), len(right))
        if left[:length] != right[:length]:
            return False
        rest = [
            (side[0][length:], *side[1:]) if side[0][length:] else side[1:]
            for side in ((left, *one[1:]), (right, *two[1:]))
        ]
        return self._meet(rest[0], rest[1], held)

    def _candidates(self, slot: str, form: str, held: dict[str, Entity]) -> Iterator[Entity]:
        """Yield the entities with that form that `slot` can hold beside those in slots that it differs from."""
        slots = self.grammar.slots
        others = [name for name in held if name in slots[slot].differs_from or slot in slots[name].differs_from]
        rivals = {held[name].key for name in others}
        return (e for e in self.domains[slot].values() if e.key not in rivals and e.knows(form))


def _merged(opening: Opening) -> Opening:
    """Join neighbouring texts and drop empty ones."""
    merged: list[Part] = []
    for part in opening:
        last = merged[-1] if merged else None
        if isinstance(part, str) and isinstance(last, str):
            merged[-1] = last + part
        elif part != "":
            merged.append(part)
    return tuple(merged)


def _draws(node: Node) -> Iterator[Draw]:
    return (each for each in walk(node) if isinstance(each, Draw))


def show(opening: Opening) -> str:
    """Return an opening for people to read.

    >>> show(("The ", Refer("toy"), " broke"))
    'The {toy} broke'
    """
    return "".join(
        part if isinstance(part, str) else f"{{{part.slot}}}" for part in opening if not isinstance(part, Given)
    )
