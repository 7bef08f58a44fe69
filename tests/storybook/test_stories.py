"""The stories themselves: told and parsed back, altered, and read for grammar by rules from outside the engine."""

from __future__ import annotations

import hashlib
import re
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storyloom import storybook
from storyloom.storybook import Departure, Story

TOLD = list(storybook.stories(seed=5, count=3001))
QUOTED = re.compile(r'"[^"\n]*"')


def left(text: str) -> Departure:
    """Return where `text` leaves the grammar, which it must."""
    departure = storybook.parse(text)
    assert isinstance(departure, Departure), text
    return departure


def test_parsing_gives_back_what_was_told() -> None:
    """10,000 stories: the probability to 1e-9, and the same facts."""
    for story in storybook.stories(seed=29, count=10_000):
        parsed = storybook.parse(story.text)
        assert isinstance(parsed, Story)
        assert parsed.log2_probability == pytest.approx(story.log2_probability, abs=1e-9)
        assert parsed.facts == story.facts


def test_the_nth_story_depends_on_nothing_but_seed_and_index() -> None:
    """However many are asked for, and from wherever."""
    many = list(storybook.stories(23, 41))
    assert list(storybook.stories(23, 7)) == many[:7]
    assert list(storybook.stories(23, 5, start=31)) == many[31:36]
    assert list(islice(storybook.stories(23, 10**12), 3)) == many[:3]
    assert storybook.tell(23, 40) == many[40]
    assert storybook.tell(24, 40) != many[40]


def test_version_and_stories_change_together() -> None:
    """A change here is a new corpus: losses and limits of older runs no longer compare. Change both on purpose."""
    texts = "\n\n".join(story.text for story in storybook.stories(0, 5))
    digest = hashlib.sha256(texts.encode()).hexdigest()
    assert (storybook.VERSION, digest[:16]) == ("1-50bc992a34ef", "cf1f35a54a8646e3")


@given(index=st.integers(0, 2999), place=st.floats(0, 1, exclude_max=True), mark=st.sampled_from("#Q~\u00e9"))
@settings(max_examples=300, deadline=None)
def test_a_wrong_character_is_found_where_it_stands(index: int, place: float, mark: str) -> None:
    """No story has these characters, so each is itself the first that no story goes on with."""
    text = TOLD[index].text
    position = int(place * len(text))
    departure = left(text[:position] + mark + text[position + 1 :])
    assert departure.position == position
    assert departure.found.startswith(mark)
    assert departure.expected


@given(index=st.integers(0, 2999), place=st.floats(0, 1, exclude_max=True))
@settings(max_examples=300, deadline=None)
def test_a_story_cut_short_leaves_at_its_end(index: int, place: float) -> None:
    """Whatever begins a story can be gone on with up to its last character: this is the law of prefix-freeness."""
    text = TOLD[index].text[: int(place * len(TOLD[index].text))]
    departure = left(text)
    assert (departure.position, departure.found) == (len(text), "")
    assert "the end of the text" in str(departure)


@pytest.mark.parametrize("extra", [" ", "\n", ".", " The end.", "<|endoftext|>"])
def test_text_after_the_end_is_found(extra: str) -> None:
    """A complete story with more behind it."""
    text = TOLD[3].text
    assert left(text + extra).position == len(text)
    assert left(text + extra).expected == ("(the end)",)


def test_a_wrong_name_is_found_where_it_stands() -> None:
    """The last mention of the hero gets a name that has no letter in common with anything there."""
    for story in TOLD[:200]:
        at = story.text.rindex(story.facts.hero)
        departure = left(story.text[:at] + "Vera" + story.text[at + len(story.facts.hero) :])
        assert departure.position == at
        assert story.facts.hero in departure.expected[0]


def test_a_wrong_pronoun_is_found_where_it_stands() -> None:
    """On the way, he or she sees animals; the other pronoun leaves the grammar at its first letter."""
    met = [(story.text, found) for story in TOLD if (found := re.search(r"On the way, (he|she) ", story.text))]
    assert len(met) > 1000
    for text, found in met[:200]:
        wrong = {"he": "she", "she": "he"}[found[1]]
        assert left(text[: found.start(1)] + wrong + text[found.end(1) :]).position == found.start(1)


def test_log2_probability_agrees_and_refuses() -> None:
    """The function for evaluation gives the same number, and the place in its message."""
    assert storybook.log2_probability(TOLD[0].text) == TOLD[0].log2_probability
    with pytest.raises(ValueError, match="at character 0 it has 'Hello' instead of 'Once upon a time' or 'Long ago'"):
        storybook.log2_probability("Hello")


def test_pronouns_agree_with_the_hero_all_through() -> None:
    """Outside what is said, every pronoun is the hero's; a story of a girl has no he, him or his, and the reverse."""
    for story in TOLD:
        outside = QUOTED.sub("", story.text)
        girl = re.search(r"\b(girl|boy) named " + story.facts.hero, story.text)
        assert girl
        other = r"\b(he|him|his)\b" if girl[1] == "girl" else r"\b(she|her|hers)\b"
        assert not re.search(other, outside, re.IGNORECASE), story.text


def test_articles_capitals_blanks_and_quotes_are_right() -> None:
    """Rules of spelling that hold for any English text."""
    for story in TOLD:
        text = story.text
        assert text.isascii()
        assert text == text.strip()
        assert "  " not in text
        assert " \n" not in text
        assert not re.search(r"\b[Aa] ([aeiou]|honest)|\b[Aa]n (?!honest)[^aeiou]", text), text
        assert not re.search(r"\b(\w+) \1\b", text), text
        assert not re.search(r"[.!?] [a-z]|\n[a-z]|[.,!?][A-Za-z]", text), text
        assert not re.search(r" [.,!?]|[.,!?]{2}|[{}\[\]()|+*=@_]", text), text
        for line in text.split("\n"):
            assert line[-1] in '.!?"', text
            assert line.count('"') % 2 == 0, text


def test_names_places_and_things_agree_all_through() -> None:
    """The facts stand in the text; a toy keeps its color; a child met is introduced once, by a name of its own."""
    toys = {"stuck", "adrift", "lost", "shared", "borrowed", "gift", "quarrel", "broken"}
    for story in TOLD:
        facts = story.facts
        assert facts.hero != facts.helper
        assert story.text.count(facts.hero) >= 4
        assert facts.helper in story.text
        assert facts.thing in story.text
        if facts.plot in toys:
            assert f"to {facts.place}." in story.text
            colors = re.findall(rf"(?:his|her) (\w+) {facts.thing}\b", story.text)
            assert colors, story.text
            assert len(set(colors)) == 1, story.text
        assert len(re.findall(rf"named {facts.helper}\b", story.text)) <= 1


def test_all_plots_are_told_about_equally_often() -> None:
    """25 plots, none below 1 in 60."""
    plots = [story.facts.plot for story in TOLD]
    assert len(set(plots)) == 25
    assert min(plots.count(plot) for plot in set(plots)) > len(plots) / 60


def test_facts_as_a_dictionary() -> None:
    """All fields, all filled."""
    facts = TOLD[0].facts.as_dict()
    assert tuple(facts) == storybook.FACTS
    assert all(isinstance(value, str) and value for value in facts.values())
