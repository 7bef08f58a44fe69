"""The static checks: the storybook passes, and every planted fault is found."""

from __future__ import annotations

import pytest

from storyloom.storybook import FACTS, the_grammar
from storyloom.storybook.checking import survey
from storyloom.storybook.grammar import Entity, Grammar, Slot
from storyloom.storybook.notation import Written, by, read
from storyloom.storybook.openings import AmbiguousError
from storyloom.storybook.parsing import Parser

NAMES = tuple(
    Entity(name, (("name", name), ("his", his))) for name, his in (("Ann", "her"), ("Bob", "his"), ("Cy", "his"))
)
SLOTS = {
    "hero": Slot("hero", NAMES),
    "friend": Slot("friend", NAMES, differs_from=("hero",)),
    "guest": Slot("guest", NAMES),
}


def faults(written: Written, facts: tuple[str, ...] = (), **scenes: Written) -> str:
    """Return the problems of a small grammar, apart from slots that it does not use."""
    grammar = Grammar(SLOTS, {"story": read(written)} | {name: read(scene) for name, scene in scenes.items()})
    return "\n".join(each for each in survey(grammar, facts).problems if "never drawn" not in each)


@pytest.mark.parametrize(
    "written",
    [
        "{+hero} saw {+friend}. (It|They) slept.",
        "{+hero} saw {+friend}. ({hero} slept.|{friend} slept.)",  # the two are never the same
        "{+hero} ({hero.his} hat|a hat)",
        "{+hero} (the (big|small) hat|these hats)",
        ["{+hero}", by("hero.his", her="(A|B)", his="C")],
    ],
)
def test_sound_grammars_pass(written: Written) -> None:
    """The checks refuse nothing that is unambiguous."""
    assert faults(written) == ""


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("(a cat|a cat sat)", "'a cat' and 'a cat sat' are alternatives"),
        ("(a cat|2*a cat)", "are alternatives"),
        ("(Bob ran|{+hero} ran)", "'Bob' and 'Bob ran' are alternatives"),
        ("{+hero} saw {+guest}. ({hero} ran.|{guest} ran.)", "'{hero} ran.' and '{guest} ran.' are alternatives"),
        ("{+hero} ({hero.his} hat|his hat)", "are alternatives"),
        ("(A (big|small) cat|A (big|small) dog)", "'A big' and 'A big' are alternatives"),
        ("(a|[empty])", "an alternative can be empty"),
        ("{hero} ran.", "'hero' is referred to but not sure to be drawn"),
        ("({+hero} ran.|Nobody ran.) {hero} fell.", "'hero' is referred to but not sure to be drawn"),
        ("{+hero} and {+hero}", "'hero' is drawn twice"),
        ("{+hero} {hero.hat}", "which has no form 'hat'"),
        ("{+hero:old} ran.", "nothing may be left to draw for 'hero' with tag 'old'"),
        ("{+villain} ran.", "there is no slot 'villain'"),
        ("[nowhere]", "there is no scene 'nowhere'"),
        ("[story]", "'story' plays itself"),
        ("Two  blanks", "is not clean ASCII text"),
        ("A caf\u00e9", "is not clean ASCII text"),
        ("(0*a|b)", "a weight is below 1"),
        (["{+hero}", by("hero.his", her="A")], "with options for ['her']"),
        ("{end=a}{end=b}The end.", "the fact 'end' is noted twice"),
        ("({end=a}A|B)", "the fact 'end' is not noted in every story"),
    ],
)
def test_planted_faults_are_found(written: Written, fault: str) -> None:
    """Each fault alone, in a grammar of one or two scenes."""
    facts = ("end",) if "end=" in str(written) else ()
    assert fault in faults(written, facts, empty="{x=y}")


def test_idle_scenes_and_entities_are_found() -> None:
    """What nobody can meet is no part of the grammar."""
    grammar = Grammar(SLOTS, {"story": read("{+hero} ran."), "spare": read("Never.")})
    problems = survey(grammar).problems
    assert "scene 'spare' is never played" in problems
    assert "'Bob' is never drawn for 'guest'" in problems
    assert "'Bob' is never drawn for 'hero'" not in problems


def test_names_that_begin_one_another_are_found() -> None:
    """Ann and Anna could not be told apart when Anna comes first."""
    names = tuple(Entity(name, (("name", name),)) for name in ("Ann", "Anna"))
    assert "one begins the other" in survey(Grammar({"x": Slot("x", names)}, {"story": read("{+x} ran.")})).problems[0]


def test_the_parser_refuses_an_ambiguous_grammar_too() -> None:
    """It relies on the same proof as the checks."""
    with pytest.raises(AmbiguousError, match="alternatives"):
        Parser(Grammar({}, {"story": read("(a|ab)c")}))


def test_the_storybook_passes_with_every_story_between_400_and_1200_bytes() -> None:
    """No problems, 600 to 800 words, and bounds for all stories, told or not."""
    surveyed = survey(the_grammar(), FACTS)
    assert surveyed.problems == []
    assert 400 <= surveyed.bounds[0] <= surveyed.bounds[1] <= 1200
    assert 600 <= len(surveyed.words) <= 800


@pytest.mark.parametrize(
    ("scene", "written", "fault"),
    [
        ("comfort", '"(Do not cry|Do not cry now)," said {helper}.', "'Do not cry' and 'Do not cry now'"),
        ("friend", "(girl named {+helper:girl}|girl named {+helper}) in a {+wearing} hat", "are alternatives"),
        ("way", "On the way, {hero.he} saw {hero.hat}.", "has no form 'hat'"),
        ("told", "{hero} told {helper} all about {place}.", "'place' is referred to but not sure"),
        ("sad", "{moral=none}Oh.", "the fact 'moral' is noted twice"),
    ],
)
def test_faults_planted_in_the_storybook_are_found(scene: str, written: Written, fault: str) -> None:
    """One scene of the real grammar is replaced by a faulty one."""
    real = the_grammar()
    planted = Grammar(real.slots, {**real.scenes, scene: read(written)})
    assert fault in "\n".join(survey(planted, FACTS).problems)


def test_an_over_long_story_is_found() -> None:
    """A sentence more in one of the scenes pushes the greatest length over the bound."""
    real = the_grammar()
    longer = Grammar(real.slots, {**real.scenes, "day": read("One very, very, very, very long and hot summer day,")})
    assert survey(longer, FACTS).bounds[1] > survey(real, FACTS).bounds[1]
