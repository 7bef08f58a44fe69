"""The engine on grammars small enough to be listed whole: probabilities, exclusion, parsing, notation."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import pytest

from storyloom.storybook import the_grammar
from storyloom.storybook.grammar import Choose, Entity, Grammar, Scene, Slot, Text
from storyloom.storybook.measuring import collision_entropy
from storyloom.storybook.notation import by, lines, read, weighted
from storyloom.storybook.parsing import LeftError, Parser
from storyloom.storybook.telling import Teller, generator

from .enumerating import every_story, reduced

PETS = (
    Entity("cat", (("name", "cat"), ("says", "meow"))),
    Entity("dog", (("name", "dog"), ("says", "woof")), ("loud",), weight=2),
    Entity("cow", (("name", "cow"), ("says", "moo")), ("loud",), weight=4),
)
TOY = Grammar(
    {"pet": Slot("pet", PETS), "other": Slot("other", PETS, differs_from=("pet",))},
    {
        "story": read(
            lines("{pet=@pet}A {+pet} met a {+other}. [sound]", ("Then (it rained|3*it snowed).", "The end."))
        ),
        "sound": read(by("pet.says", meow="It purred.", woof=("It barked.", weighted(6, "It ran.")), moo="It slept.")),
    },
)


def test_toy_probabilities_are_those_worked_out_by_hand() -> None:
    """P(dog) is 2/7, P(cow | not dog) is 4/5, running is 6/7, rain 1/2 * 1/4."""
    stories = {told.text: told.probability for told in every_story(TOY)}
    assert stories["A dog met a cow. It ran.\nThen it rained."] == Fraction(2 * 4 * 6, 7 * 5 * 7 * 8)
    parsed = Parser(TOY).parse("A dog met a cow. It ran.\nThen it rained.")
    assert parsed.bits == pytest.approx(math.log2(48 / 1960), abs=1e-12)
    assert parsed.facts == {"pet": "@pet"}


def test_toy_stories_are_told_as_often_as_they_are_likely() -> None:
    """Pearson's statistic over all stories stays below its 0.999 quantile (24 stories, 23 degrees: 49.7)."""
    stories = {told.text: float(told.probability) for told in every_story(TOY)}
    teller, count = Teller(TOY), 20_011
    seen = Counter("".join(teller.tell(generator(11, index)).said) for index in range(count))
    assert len(stories) == 24
    assert seen.keys() <= stories.keys()
    assert sum((seen[text] - count * p) ** 2 / (count * p) for text, p in stories.items()) < 49.7


def test_collision_entropy_of_the_toy_is_exact() -> None:
    """The estimate is compared with the sum over all stories; exclusion makes the samples differ a little."""
    exact = -math.log2(sum(float(told.probability) ** 2 for told in every_story(TOY)))
    assert collision_entropy(TOY, samples=20_000) == pytest.approx(exact, abs=0.02)


PLOTS = ("plots", "day_plots", "toy_plots", "walk_plots", "land_plots", "visited", "next_door")


@pytest.mark.parametrize(("seed", "whole"), [(1, PLOTS), (2, ()), (3, ()), (5, ()), (7, ()), (11, ()), (13, ())])
def test_reduced_storybook_sums_to_one_and_parses(seed: int, whole: tuple[str, ...]) -> None:
    """Of the real scenes, cut down until they can be listed: a distribution over distinct texts, each parsed right."""
    grammar, stories = reduced(the_grammar(), seed, whole)
    parser = Parser(grammar)
    assert len(stories) > 20
    assert sum(told.probability for told in stories) == 1
    assert len({told.text for told in stories}) == len(stories)
    for told in stories:
        parsed = parser.parse(told.text)
        assert parsed.bits == pytest.approx(math.log2(told.probability), abs=1e-9)
        assert (parsed.facts, parsed.slots) == (told.facts, told.slots)
    if whole:
        assert len({told.facts["plot"] for told in stories}) == 25


def test_the_parser_names_the_place_and_what_could_stand_there() -> None:
    """At a draw, at an excluded draw, in a fixed text, at the end."""
    parser = Parser(TOY)
    for text, position, expected in [
        ("A pig met", 2, ["cat", "dog", "cow"]),
        ("A dog met a dog.", 12, ["cat", "cow"]),
        ("A cow met a dog. It ran.", 20, ["slept."]),
        ("A cat met a dog. It purred.\nThen it poured.", 36, ["rained", "snowed"]),
        ("A cat met a dog. It purred.\nThe end. And", 36, ["(the end)"]),
    ]:
        with pytest.raises(LeftError) as left:
            parser.parse(text)
        assert (left.value.position, left.value.expected) == (position, expected), text


def test_notation_reads_as_documented() -> None:
    """Nested choices, weights and scenes."""
    node = read("(b|2*(c|[d]))")
    assert node == Choose(((1, Text("b")), (2, Choose(((1, Text("c")), (1, Scene("d")))))))


@pytest.mark.parametrize("written", ["(a|b", "a)", "{pet", "[pet}", "{+pet.}", "{two words}"])
def test_notation_refuses_what_is_not_closed(written: str) -> None:
    """A slip in a scene is an error with the scene's text."""
    with pytest.raises(ValueError, match="scene text"):
        read(written)


@pytest.mark.parametrize(("seed", "index"), [(-1, 0), (0, -1)])
def test_negative_seeds_are_refused(seed: int, index: int) -> None:
    """Python's generator would silently take -1 for 1."""
    with pytest.raises(ValueError, match="0 or more"):
        generator(seed, index)
