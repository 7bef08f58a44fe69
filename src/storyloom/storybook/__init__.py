"""The storybook: children's stories from a probabilistic grammar, each with its exact probability.

No model of these stories can need fewer bits, on average, than their probabilities say; that is the limit which a
trained model's loss is compared with. Stories come from a seed, the n-th never depending on how many are asked for,
and any text can be parsed, which gives its probability and its facts or the place where it leaves the grammar.

The engine (`grammar`, `notation`, `telling`, `openings`, `parsing`, `checking`) knows no word of any story; the words
are in `scenes`. Nothing here knows tokens, models or files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from functools import cache

from .grammar import Entity, Grammar
from .parsing import EXCERPT, LeftError, Parser
from .scenes import storybook_grammar
from .telling import Teller, generator

__all__ = [
    "FACTS",
    "VERSION",
    "Departure",
    "Facts",
    "Story",
    "log2_probability",
    "parse",
    "stories",
    "tell",
    "the_grammar",
]

VERSION: str
"""The engine's version and the beginning of the SHA-256 of the grammar, such as `1-0123456789ab`: it changes whenever
the grammar does."""


@dataclass(frozen=True)
class Facts:
    """What happens in a story, in a few plain words."""

    plot: str
    """Which of the plots is told, such as `lost`."""
    hero: str
    """The name of the child the story is about."""
    helper: str
    """Who helps: a child's or an animal's name, or a relative such as `grandmother`."""
    place: str
    """Where it happens, such as `the park`."""
    thing: str
    """The thing (or the creature) that it is about, such as `kite`."""
    wish: str
    """What the hero wants at the outset."""
    trouble: str
    """What goes wrong."""
    ending: str
    """How the trouble ends."""
    moral: str
    """What is learned, in one word."""

    def as_dict(self) -> dict[str, str]:
        """Return the facts as a dictionary, ready for JSON."""
        return asdict(self)


FACTS = tuple(field.name for field in fields(Facts))
"""The names of the facts, in order."""


@dataclass(frozen=True)
class Story:
    """A story with the base-2 logarithm of its exact probability, and its facts."""

    text: str
    log2_probability: float
    facts: Facts


@dataclass(frozen=True)
class Departure:
    """Where a text leaves the grammar.

    `position` is the offset of the first character that no story goes on with; `expected` holds the beginnings of
    what could have stood there; `found` is an excerpt of what did, empty where the text ends.
    """

    position: int
    expected: tuple[str, ...]
    found: str

    def __str__(self) -> str:
        wanted = " or ".join(repr(each) for each in self.expected)
        found = repr(self.found) if self.found else "the end of the text"
        return f"not a story of the storybook: at character {self.position} it has {found} instead of {wanted}"


def tell(seed: int, index: int) -> Story:
    """Tell the story that belongs to `seed` and `index` (both 0 or more), whatever else was told.

    >>> story = tell(seed=1, index=5)
    >>> story == tell(1, 5), parse(story.text) == story
    (True, True)
    """
    told = _teller().tell(generator(seed, index))
    return Story("".join(told.said), told.bits, _facts(told.facts, told.slots))


def stories(seed: int, count: int, start: int = 0) -> Iterator[Story]:
    """Tell `count` stories, beginning with the one of index `start`.

    >>> [story.text for story in stories(7, 2, start=3)] == [tell(7, 3).text, tell(7, 4).text]
    True
    """
    return (tell(seed, index) for index in range(start, start + count))


def parse(text: str) -> Story | Departure:
    """Find the probability and the facts of a story, or the place where the text leaves the grammar.

    >>> departure = parse("Once upon a time there was a dragon.")
    >>> departure.found
    'dragon.'
    """
    try:
        parsed = _parser().parse(text)
    except LeftError as left:
        return Departure(left.position, tuple(left.expected[:6]), text[left.position : left.position + EXCERPT])
    return Story(text, parsed.bits, _facts(parsed.facts, parsed.slots))


def log2_probability(text: str) -> float:
    """Return log2 of the probability that `tell` with a random seed tells `text`.

    Raises `ValueError`, with the place, where `text` is not a story of the grammar.

    >>> log2_probability(tell(0, 0).text) == tell(0, 0).log2_probability
    True
    """
    outcome = parse(text)
    if isinstance(outcome, Departure):
        raise ValueError(str(outcome))
    return outcome.log2_probability


def _facts(facts: dict[str, str], slots: dict[str, Entity]) -> Facts:
    """Fill in the facts, of which those written `@slot` name the entity in a slot."""
    return Facts(**{name: slots[value[1:]].key if value[0] == "@" else value for name, value in facts.items()})


@cache
def the_grammar() -> Grammar:
    """Return the grammar of the storybook, read once."""
    return storybook_grammar()


@cache
def _teller() -> Teller:
    return Teller(the_grammar())


@cache
def _parser() -> Parser:
    return Parser(the_grammar())


def __getattr__(name: str) -> str:
    """Give `VERSION`, for which the grammar must be read: importing the package alone does no work."""
    if name == "VERSION":
        return f"1-{the_grammar().fingerprint[:12]}"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
