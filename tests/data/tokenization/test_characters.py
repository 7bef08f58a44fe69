"""One token a character."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storyloom.data.tokenization import EOT, CharTokenizer
from storyloom.data.tokenization.characters import UNKNOWN
from storyloom.errors import TokenizerError

ALPHABET = "abc <|endoftxukw>\n\r\0é🙂e\u0301\u2028"


@pytest.fixture(scope="module")
def tokenizer() -> CharTokenizer:
    return CharTokenizer.train([ALPHABET[:7], ALPHABET[5:]], 0)


@given(st.text(st.sampled_from(ALPHABET)) | st.lists(st.sampled_from([EOT, UNKNOWN, "a", "\r\n", " "])).map("".join))
@settings(deadline=None, max_examples=200)
def test_known_text_comes_back_with_one_token_a_character(tokenizer, story):
    ids = tokenizer.encode(story)
    assert len(ids) == len(story)
    assert tokenizer.decode(ids) == story
    assert b"".join(tokenizer.token_bytes[i] for i in ids) == story.encode()
    assert not {0, 1} & set(ids)  # neither the end of text nor the unknown, however they are spelled out


def test_ids_are_those_of_the_sorted_characters():
    tokenizer = CharTokenizer.train(["mississippi", "Zoë"], 0)
    assert [tokenizer.token_bytes[i].decode() for i in range(2, 9)] == ["Z", "i", "m", "o", "p", "s", "ë"]
    assert tokenizer.encode("Zoë sip") == [2, 5, 8, 1, 7, 3, 6]
    assert (tokenizer.eot, tokenizer.vocab_size, tokenizer.token_bytes[:2]) == (0, 9, [b"", b""])


def test_unknown_characters_are_named_and_left_out(tokenizer):
    assert tokenizer.unknown_characters("zab🙃y") == ["y", "z", "🙃"]
    assert tokenizer.unknown_characters(ALPHABET + EOT) == []
    assert tokenizer.encode("az🙃b").count(1) == 2
    assert tokenizer.decode(tokenizer.encode("az🙃b")) == "ab"


def test_half_a_surrogate_pair_is_refused(tokenizer):
    with pytest.raises(TokenizerError, match="position 1 is half"):
        tokenizer.encode("a\ud800")
