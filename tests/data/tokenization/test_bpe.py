"""Byte-level BPE against the algorithm written out, and its law: any text comes back as it was."""

import re
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storyloom.data.tokenization import EOT, BPETokenizer, StreamingDecoder
from storyloom.errors import TokenizerError

TRAINED_ON = [
    "The cat sat on the mat. The cat's hat was flat, and that was that.",
    "Zoë saw 42 cats; they'd seen her, too.\n\nThe end.",
    "A rat ate the bat's oats   at the gate 🙂",
] * 3


@pytest.fixture(scope="module")
def tokenizer() -> BPETokenizer:
    return BPETokenizer.train(TRAINED_ON, 311)


pieces = st.sampled_from(["a", "e\u0301", "\r\n", "\0", "👩‍👩‍👧", EOT, " ", "the cat", "\u2028", "ﬁ"])
text = st.text(max_size=53) | st.lists(pieces, max_size=11).map("".join)


@given(text)
@example("\0\r\n\r \n\t\x7f")
@example("👩‍👩‍👧‍👦🏳️‍🌈 e\u0301 \u00e9 ﬁ İ ẞ")
@example("  leading, trailing and    inner  ")
@example(f"before {EOT} after{EOT}{EOT}")
@example("\u2028\ufeff\ufffd\U0010ffff\ud7ff")
@settings(deadline=None, max_examples=400)
def test_any_text_comes_back_exactly(tokenizer, story):
    ids = tokenizer.encode(story)
    assert tokenizer.decode(ids) == story
    assert b"".join(tokenizer.token_bytes[i] for i in ids) == story.encode("utf-8")
    assert tokenizer.eot not in ids
    assert tokenizer.unknown_characters(story) == []
    decoder = StreamingDecoder(tokenizer)
    pieces = [decoder.feed(i) for i in ids] + [decoder.finish()]
    assert "".join(pieces) == story
    assert "\ufffd" in story or not any("\ufffd" in piece for piece in pieces)


def gpt2_words(story: str) -> list[str]:
    """GPT-2's splitting pattern (github.com/openai/gpt-2, encoder.py), for texts of ASCII letters and digits."""
    return re.findall(r"'s|'t|'re|'ve|'m|'ll|'d| ?[a-zA-Z]+| ?[0-9]+| ?[^\sa-zA-Z0-9]+|\s+(?!\S)|\s+", story)


def learn_merges(stories: list[str], count: int) -> list[tuple[bytes, bytes]]:
    """Sennrich et al.: again and again the most frequent pair, within words, becomes one symbol."""
    words = Counter(word for story in stories for word in gpt2_words(story))
    spelled = {word: [bytes([byte]) for byte in word.encode()] for word in words}
    merges = []
    for _ in range(count):
        pairs = Counter()
        for word, symbols in spelled.items():
            for pair in pairwise(symbols):
                pairs[pair] += words[word]
        (best, times), *others = pairs.most_common()
        assert all(n < times for _, n in others), "a tie: choose a text that decides each merge"
        merges.append(best)
        spelled = {word: merge(symbols, best) for word, symbols in spelled.items()}
    return merges


def merge(symbols: list[bytes], pair: tuple[bytes, bytes]) -> list[bytes]:
    merged: list[bytes] = []
    for symbol in symbols:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return merged


DECIDED = [" shot" * 41 + " hate" * 13 + " to's" * 5 + " cot" * 3 + " so" * 19 + " ate" * 31 + " hot" * 29 + " hat" * 2]


def test_merges_are_those_of_the_algorithm_written_out():
    merges = learn_merges(DECIDED, 11)
    tokenizer = BPETokenizer.train(DECIDED, 257 + 11)
    assert [tokenizer.token_bytes[257 + n] for n in range(11)] == [left + right for left, right in merges]
    for story in [*DECIDED, " hotshots hate to shoot", "what's so hot that it's shot", "oatso's 4242"]:
        expected = []
        for word in gpt2_words(story):
            symbols = [bytes([byte]) for byte in word.encode()]
            for pair in merges:
                symbols = merge(symbols, pair)
            expected += symbols
        assert [tokenizer.token_bytes[i] for i in tokenizer.encode(story)] == expected


def test_the_vocabulary_is_256_bytes_the_end_of_text_and_the_merges(tokenizer):
    assert tokenizer.vocab_size == len(tokenizer.token_bytes) == 311
    assert tokenizer.token_bytes[tokenizer.eot] == b""
    spelled = [spelling for i, spelling in enumerate(tokenizer.token_bytes) if i != tokenizer.eot]
    assert {bytes([byte]) for byte in range(256)} <= set(spelled)
    assert len(set(spelled)) == 310
    assert all(spelled)


def test_a_text_with_few_pairs_gives_a_smaller_vocabulary():
    tokenizer = BPETokenizer.train(["ab"], 1009)
    assert tokenizer.vocab_size == len(tokenizer.token_bytes) == 258


@pytest.mark.parametrize("vocab_size", [2, 256])
def test_a_vocabulary_without_room_for_the_bytes_is_refused(vocab_size):
    with pytest.raises(TokenizerError, match=rf"vocab_size = {vocab_size} is too small.*at least 257"):
        BPETokenizer.train(["ab"], vocab_size)
    assert BPETokenizer.train(["ab"], 257).decode([*BPETokenizer.train(["ab"], 257).encode("ab")]) == "ab"


@pytest.mark.parametrize("story", ["a\ud800", "\udfff", "ok \ud83d then \ude00"])
def test_half_a_surrogate_pair_is_refused_with_its_place(tokenizer, story):
    with pytest.raises(TokenizerError, match=r"at position \d+ is half of a surrogate pair"):
        tokenizer.encode(story)


def test_training_twice_gives_the_same_tokenizer():
    assert BPETokenizer.train(TRAINED_ON, 311).fingerprint == BPETokenizer.train(iter(TRAINED_ON), 311).fingerprint


def test_bytes_that_form_no_character_become_the_replacement(tokenizer):
    ids = tokenizer.encode("é")
    first = tokenizer.token_bytes.index("é".encode()[:1])
    assert tokenizer.decode([first]) == "\ufffd"
    decoder = StreamingDecoder(tokenizer)
    assert decoder.feed(first) == ""
    assert decoder.finish() == "\ufffd"
    assert tokenizer.decode(ids) == "é"
