"""Cleaning, against ftfy over whole texts, by hand, and by its laws; and the set of what was seen, against Python's."""

import string
import tracemalloc

import ftfy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storyloom.data.cleaning import SeenDigests, clean, cleaning_steps, digests_of, repair
from storyloom.data.textfile import normalise

FRAGMENTS = [
    "Ã©", "â€™", "â€œ", "â€\x9d", "ÃƒÂ©", "\u00a0", "\u200b", "“", "’", "e\u0301", "\u0301", "ﬁ", "ａ", "&amp;lt;", "<",
    "\x1b[31m", "\x07", "\r", "\n", "\n\n\n", "\x0c", "\x85", "\u2028",
    "\t", "  ", " ", "a", "Zoë", "7", "-", "🙂", "Ð¸", "Å", "ó",
]  # fmt: skip
texts = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=3)), max_size=23).map("".join)


@pytest.mark.parametrize(
    ("dirty", "cleaned", "changed_by"),
    [
        ("one two\nthree\n\nfour", "one two\nthree\n\nfour", ()),
        ("“It’s Zoë,” he said.", '"It\'s Zoë," he said.', ("repaired",)),
        ("ItÃ¢â‚¬â„¢s hot.", "It's hot.", ("repaired",)),  # broken twice
        ("cafe\u0301", "café", ("repaired",)),
        ("fish &amp; <chips>", "fish &amp; <chips>", ()),
        ("one\t two \n  three", "one two\nthree", ("tidied",)),
        ("a\u00a0b", "a b", ("tidied",)),
        ("one \n \n\n\ntwo", "one\n\ntwo", ("tidied",)),
        ("\u2018a\u2019\t\u3000b", "'a' b", ("repaired", "tidied")),
        ("\x07", "", ("repaired",)),
    ],
)
def test_cleaning_by_hand(dirty, cleaned, changed_by):
    assert clean(dirty, cleaning_steps(strict=False)) == (cleaned, changed_by)


@pytest.mark.parametrize(
    ("dirty", "cleaned", "changed_by"),
    [
        ('Tom\'s dog: "yes!" Then; 23, why?\nNo.', 'Tom\'s dog: "yes!" Then; 23, why?\nNo.', ()),
        ("a — b (c)\n\n***\n\nd", "a b c\nd", ("stripped_of_characters", "tidied")),
        ("one\n\ntwo", "one\ntwo", ("tidied",)),
        ("“Zoë” 🙂", '"Zo"', ("repaired", "stripped_of_characters", "tidied")),
        ("你好", "", ("stripped_of_characters",)),
    ],
)
def test_strict_cleaning_by_hand(dirty, cleaned, changed_by):
    assert clean(dirty, cleaning_steps(strict=True)) == (cleaned, changed_by)


@pytest.mark.parametrize("strict", [False, True])
@given(story=texts)
@settings(deadline=None, max_examples=400)
def test_cleaning_a_cleaned_story_changes_nothing(strict, story):
    steps = cleaning_steps(strict=strict)
    cleaned = clean(story, steps)
    assert clean(cleaned.text, steps) == (cleaned.text, ())
    assert (cleaned.text != story) <= bool(cleaned.changed_by)
    assert cleaned.text == cleaned.text.strip()
    assert not {"\t", "\r", "\u00a0"} & set(cleaned.text)
    assert all(part not in cleaned.text for part in ("  ", " \n", "\n ", "\n\n" if strict else "\n\n\n"))
    if strict:
        assert set(cleaned.text) <= set(string.ascii_letters + string.digits + ".,!?;:'\" \n")


@given(texts.map(normalise))
@settings(deadline=None, max_examples=400)
def test_repairing_only_suspicious_lines_loses_nothing(story):
    assert repair(story) == ftfy.fix_text(story, ftfy.TextFixerConfig(unescape_html=False))


def test_without_steps_nothing_changes():
    assert clean(" a\t“b” ", {}) == (" a\t“b” ", ())


def test_a_digest_is_the_first_64_bits():
    """BLAKE2b's digest length is a parameter of the hash: the published vectors are for 64 bytes, so b2sum -l 64."""
    assert [f"{digest:016x}" for digest in digests_of(["", "abc"])] == ["e4a6a0577479b2b4", "d8bb14d833d59559"]
    assert digests_of([]).shape == (0,)


@given(st.lists(st.lists(st.integers(0, 13) | st.integers(2**64 - 3, 2**64 - 1), max_size=11), max_size=11))
def test_what_was_seen_is_what_a_set_has(batches):
    seen, known = SeenDigests(), set()
    for batch in batches:
        digests = np.array(batch, np.uint64)
        assert seen.find(digests).tolist() == [digest in known for digest in batch]
        first = [digest not in known and digest not in batch[:place] for place, digest in enumerate(batch)]
        assert seen.add(digests).tolist() == first
        known |= set(batch)


def test_what_was_seen_costs_16_bytes_a_story_at_most():
    generator = np.random.default_rng(3)
    batches = [generator.integers(2**64, size=1009, dtype=np.uint64) for _ in range(307)]
    seen = SeenDigests()
    tracemalloc.start()
    for batch in batches:
        assert seen.add(batch).all()
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    stories = 1009 * 307
    assert held < 8.1 * stories
    assert peak < 16.2 * stories  # and what one batch needs on its way
