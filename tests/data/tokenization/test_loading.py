"""Tokenizers in files: what is saved is read back, what is broken is refused."""

import copy
import json
import pickle
from pathlib import Path

import pytest
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from storyloom.data.tokenization import EOT, BPETokenizer, CharTokenizer, Tokenizer, load_tokenizer, train_tokenizer
from storyloom.errors import TokenizerError

TRAINED_ON = ["The cat sat on the mat and sang:\n\tla, la, lá 🙂"] * 3
PROBE = f"the mat, a rat;\r\n {EOT} lá lá 🙂 \0 e\u0301"


@pytest.mark.parametrize(("kind", "vocab_size"), [("bpe", 257), ("bpe", 283), ("char", 4096)])
def test_what_is_saved_is_read_back(tmp_path, kind, vocab_size):
    tokenizer = train_tokenizer(kind, TRAINED_ON, vocab_size)
    tokenizer.save(tmp_path / "t.json")
    for loaded in (load_tokenizer(tmp_path / "t.json"), train_tokenizer(str(tmp_path / "t.json"), [], 0)):
        assert type(loaded) is type(tokenizer)
        assert loaded.encode(PROBE) == tokenizer.encode(PROBE)
        assert tokenizer.eot not in loaded.encode(PROBE)
        assert loaded.token_bytes == tokenizer.token_bytes
        assert (loaded.fingerprint, loaded.vocab_size, loaded.eot) == (
            tokenizer.fingerprint,
            tokenizer.vocab_size,
            tokenizer.eot,
        )


@pytest.mark.parametrize("send", [lambda tokenizer: pickle.loads(pickle.dumps(tokenizer)), copy.copy, copy.deepcopy])
@pytest.mark.parametrize("kind", ["bpe", "char"])
def test_a_copy_in_another_process_encodes_alike(kind, send):
    """Caught: a pickled tokenizer took the literal end-of-text in a story for the token."""
    tokenizer = train_tokenizer(kind, [*TRAINED_ON, EOT], 283)
    sent = send(tokenizer)
    assert type(sent) is type(tokenizer)
    assert sent.encode(PROBE) == tokenizer.encode(PROBE)
    assert sent.eot not in sent.encode(PROBE)
    assert sent.fingerprint == tokenizer.fingerprint


@pytest.mark.parametrize("kind", ["bpe", "char"])
def test_a_saved_file_is_read_by_the_library_itself(tmp_path, kind):
    tokenizer = train_tokenizer(kind, TRAINED_ON, 283)
    tokenizer.save(tmp_path / "t.json")
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "t.json"))
    story = "The mat sang 🙂"
    assert theirs.encode(story).ids == tokenizer.encode(story)
    assert theirs.decode(tokenizer.encode(story)) == story
    theirs.encode_special_tokens = True
    assert theirs.encode(PROBE).ids == tokenizer.encode(PROBE)  # with unknown characters, and the literal end-of-text


def test_different_tokenizers_have_different_fingerprints():
    made: list[Tokenizer] = [
        BPETokenizer.train(TRAINED_ON, 283),
        BPETokenizer.train(TRAINED_ON, 281),
        BPETokenizer.train(["other words"] * 3, 283),
        CharTokenizer.train(TRAINED_ON, 0),
        CharTokenizer.train(["abc"], 0),
    ]
    assert len({tokenizer.fingerprint for tokenizer in made}) == len(made)


def saved(path: Path, change=None) -> Path:
    BPETokenizer.train(TRAINED_ON, 283).save(path)
    if change:
        content = json.loads(path.read_text(encoding="utf-8"))
        change(content)
        path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _no_eot(content: dict) -> None:
    content["added_tokens"] = []
    del content["model"]["vocab"][EOT]


def _gap(content: dict) -> None:
    vocabulary = content["model"]["vocab"]
    vocabulary["Ġnew"] = len(vocabulary) + 7


def _sentencepiece(content: dict) -> None:
    content["model"]["vocab"]["▁the"] = len(content["model"]["vocab"])


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("model"),
        lambda content: content["model"].update(type="Unigram"),
        lambda content: content["model"].update(merges=[["Q", "no such token"]]),
        lambda content: content["model"].pop("vocab"),
        _no_eot,
        _gap,
        _sentencepiece,
    ],
)
def test_a_file_that_is_no_tokenizer_of_ours_is_refused(tmp_path, change):
    """A BPE of another alphabet, or with ids left out, was a KeyError or an IndexError."""
    with pytest.raises(TokenizerError) as caught:
        load_tokenizer(saved(tmp_path / "t.json", change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "normalizer", [normalizers.NFC(), normalizers.NFKC(), normalizers.Lowercase(), normalizers.Prepend(" ")]
)
def test_a_tokenizer_that_changes_its_text_is_refused(tmp_path, normalizer):
    """Caught: such a file was taken, and its bits/byte said to be comparable."""
    path = saved(tmp_path / "t.json")
    backend = tokenizers.Tokenizer.from_file(str(path))
    backend.normalizer = normalizer
    backend.save(str(path))
    with pytest.raises(TokenizerError, match=r"t\.json does not give back the text"):
        load_tokenizer(path)


def test_a_tokenizer_that_puts_a_space_before_the_text_is_refused(tmp_path):
    path = saved(tmp_path / "t.json", lambda content: content["pre_tokenizer"].update(add_prefix_space=True))
    with pytest.raises(TokenizerError, match=r"t\.json does not give back the text"):
        load_tokenizer(path)


def test_stories_are_encoded_whole_whatever_the_file_was_made_for(tmp_path):
    """Caught: a file saved with truncation and padding cut each story, and filled the short ones up."""
    path = saved(tmp_path / "t.json")
    plain = load_tokenizer(path)
    backend = tokenizers.Tokenizer.from_file(str(path))
    backend.enable_truncation(7)
    backend.enable_padding(length=7)
    backend.save(str(path))
    loaded = load_tokenizer(path)
    assert loaded.encode_all(["cat", PROBE]) == plain.encode_all(["cat", PROBE])
    assert loaded.fingerprint == plain.fingerprint


def test_words_added_to_a_tokenizer_are_spelled(tmp_path):
    """Caught: ordinary added tokens were found in texts, and told as nothing."""
    path = saved(tmp_path / "t.json")
    backend = tokenizers.Tokenizer.from_file(str(path))
    backend.add_tokens(["<sông>"])
    backend.add_special_tokens(["<|other|>"])
    backend.save(str(path))
    loaded = load_tokenizer(path)
    story = f"a <sông> and <|other|>{EOT}"
    ids = loaded.encode(story)
    assert loaded.token_bytes.index("<sông>".encode()) in ids
    assert loaded.decode(ids) == story
    assert loaded.vocab_size == len(loaded.token_bytes) == 285


def test_a_tokenizer_that_ends_a_story_at_the_literal_is_refused(tmp_path):
    """Caught: where the token was added as an ordinary word, a story that holds it was cut in two."""
    path = saved(tmp_path / "t.json", lambda content: content["added_tokens"][0].update(special=False))
    with pytest.raises(TokenizerError, match=r't\.json takes a literal .* set "special": true'):
        load_tokenizer(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"model": 3}', b"\xff\xfe", b"a story"])
def test_a_broken_file_is_refused(tmp_path, content):
    (tmp_path / "t.json").write_bytes(content)
    with pytest.raises(TokenizerError, match=r"cannot read the tokenizer .*t\.json"):
        load_tokenizer(tmp_path / "t.json")


def test_a_cut_file_is_refused_wherever_it_is_cut(tmp_path):
    whole = saved(tmp_path / "t.json").read_bytes()
    for cut in range(0, len(whole) - 2, len(whole) // 17):
        (tmp_path / "t.json").write_bytes(whole[:cut])
        with pytest.raises(TokenizerError):
            load_tokenizer(tmp_path / "t.json")


def test_another_kind_of_model_is_named(tmp_path):
    backend = tokenizers.Tokenizer(models.WordPiece({EOT: 0, "[UNK]": 1}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.save(str(tmp_path / "t.json"))
    with pytest.raises(TokenizerError, match=r"WordPiece.*only BPE and WordLevel"):
        load_tokenizer(tmp_path / "t.json")


def test_an_unknown_kind_offers_the_nearest(tmp_path):
    with pytest.raises(TokenizerError, match="unknown tokenizer 'chars': did you mean 'char'"):
        train_tokenizer("chars", TRAINED_ON, 283)
    with pytest.raises(TokenizerError, match=r"no tokenizer at .*t\.json"):
        train_tokenizer(str(tmp_path / "t.json"), TRAINED_ON, 283)


def test_a_vocabulary_without_its_unknown_token_is_refused(tmp_path):
    """It was the library's own bare Exception, as soon as the tokenizer met a character that it did not know."""
    path = tmp_path / "tokenizer.json"
    CharTokenizer.train(["abc"], 0).save(path)
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    content["model"]["vocab"] = {token: index for token, index in vocabulary.items() if "unknown" not in token}
    path.write_text(json.dumps(content))
    with pytest.raises(TokenizerError, match=r"tokenizer\.json"):
        load_tokenizer(path)
