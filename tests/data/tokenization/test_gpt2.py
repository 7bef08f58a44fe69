"""GPT-2's tokenizer against tiktoken and OpenAI's own list of merges; out of reach, it says what to do."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiktoken
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storyloom.data.tokenization import EOT, BPETokenizer, Tokenizer, load_tokenizer, train_tokenizer
from storyloom.errors import TokenizerError

VOCAB_BPE = "6d1cbeee0f20b3d9449abfede4726ed8212e3aee"  # tiktoken's name for OpenAI's vocab.bpe


@pytest.fixture(scope="module")
def cache(shared: Path) -> Path:
    """tiktoken's cache of the vocabulary."""
    folder = shared / "gpt2-bpe"
    if not (folder / VOCAB_BPE).is_file():
        pytest.skip(f"no GPT-2 vocabulary in {folder}: fill it with TIKTOKEN_CACHE_DIR on a machine with a network")
    return folder


def no_stories() -> Iterator[str]:
    raise AssertionError("GPT-2's tokenizer learns nothing")
    yield


@pytest.fixture(scope="module")
def tokenizer(cache: Path) -> Tokenizer:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(cache))
        return train_tokenizer("gpt2", no_stories(), 7)


@pytest.fixture(scope="module")
def saved(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gpt2") / "tokenizer.json"
    tokenizer.save(path)
    return path


@pytest.fixture(scope="module")
def loaded(saved: Path) -> Tokenizer:
    return load_tokenizer(saved)


@pytest.fixture(scope="module")
def reference(tokenizer: Tokenizer) -> tiktoken.Encoding:
    """Kept by tiktoken once the tokenizer has fetched it."""
    return tiktoken.get_encoding("gpt2")


def test_known_ids(tokenizer, loaded):
    for ours in (tokenizer, loaded):
        assert ours.encode("Once upon a time") == [7454, 2402, 257, 640]
        assert (ours.vocab_size, ours.eot, len(ours.token_bytes)) == (50_257, 50_256, 50_257)
        assert (ours.token_bytes[262], ours.token_bytes[50_256]) == (b" the", b"")


def test_the_merges_are_those_that_openai_lists(cache, saved):
    listed = (cache / VOCAB_BPE).read_text(encoding="utf-8").split("\n")[1:-1]  # a line of version before them
    merges = json.loads(saved.read_text(encoding="utf-8"))["model"]["merges"]
    assert [" ".join(merge) for merge in merges] == listed


def test_every_token_is_spelled_as_tiktoken_spells_it(loaded, reference):
    assert loaded.token_bytes[:-1] == [reference.decode_single_token_bytes(i) for i in range(50_256)]


def test_real_stories_have_tiktokens_ids(shared, loaded, reference):
    text = (shared / "data" / "tinystories" / "valid.txt").read_text(encoding="utf-8")
    assert EOT in text
    ids = loaded.encode(text)
    assert ids == reference.encode_ordinary(text)
    assert loaded.decode(ids) == text
    stories = text.split(EOT)
    assert loaded.encode_all(stories) == reference.encode_ordinary_batch(stories, num_threads=1)


pieces = st.sampled_from(
    [EOT, "<|endof", "'ll", "'LL", "’s", "  ", "\n\n", "\t", "\u3000", "\u0085", "١٢", "e\u0301", "👩‍👧"]
)
text = st.text(max_size=53) | st.lists(pieces | st.text(max_size=3), max_size=11).map("".join)


@given(text)
@example(f"before {EOT} after{EOT}{EOT}")
@example("Don't, we'll, they'RE    spaced \r\n \n\n\t end   ")
@example("\0\x7f\u0085\u200b\u2028\ufeff\ufffd\U0010ffff")
@settings(deadline=None, max_examples=600, derandomize=True)
def test_any_text_has_tiktokens_ids_and_comes_back(tokenizer, loaded, reference, story):
    ids = loaded.encode(story)
    assert ids == tokenizer.encode(story) == reference.encode_ordinary(story)
    assert loaded.decode(ids) == story
    assert loaded.eot not in ids


def test_letters_digits_and_spaces_of_all_scripts_split_alike(loaded, reference):
    """The two libraries bring Unicode tables of their own: each 61st character, where its class decides the words."""
    characters = [chr(code) for code in range(0, 0x110000, 61) if not 0xD800 <= code < 0xE000]
    texts = [f"a{character}b {character}1{character}. {character}" for character in characters]
    assert loaded.encode_all(texts) == reference.encode_ordinary_batch(texts, num_threads=1)


def test_what_is_saved_is_read_back_as_any_trained_bpe(tokenizer, loaded, saved):
    assert type(loaded) is BPETokenizer
    assert loaded.fingerprint == tokenizer.fingerprint != BPETokenizer.train(["ab"], 257).fingerprint
    assert loaded.token_bytes == tokenizer.token_bytes
    again = train_tokenizer(str(saved), no_stories(), 7)
    assert (again.fingerprint, again.eot, again.vocab_size) == (tokenizer.fingerprint, 50_256, 50_257)


def test_the_saved_file_is_a_whole_tokenizer_for_the_library_itself(saved):
    theirs = tokenizers.Tokenizer.from_file(str(saved))
    assert (theirs.normalizer, theirs.get_vocab_size()) == (None, 50_257)
    assert theirs.encode("Once upon a time").ids == [7454, 2402, 257, 640]
    assert theirs.encode(f"time{EOT}").ids == [2435, 50_256]  # special there; here, ordinary text
    assert theirs.decode([7454, 2402, 257, 640]) == "Once upon a time"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No network, and nothing remembered by tiktoken; gives the folder that it will take for its cache."""

    def unreachable(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "no network")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setattr(socket.socket, "connect", unreachable)
    monkeypatch.setattr("tiktoken.registry.ENCODINGS", {})
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def assert_refused(reason: str) -> None:
    with pytest.raises(TokenizerError, match=rf"could not fetch one \({reason}\): set TIKTOKEN_CACHE_DIR") as caught:
        train_tokenizer("gpt2", no_stories(), 7)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 228  # a message is read, not searched


@pytest.mark.parametrize("content", ["nothing", "an empty folder", "a file"])
def test_without_network_and_cache_the_ways_out_are_named(offline, content):
    if content == "an empty folder":
        offline.mkdir()
    elif content == "a file":
        offline.write_text("no folder", encoding="utf-8")
    assert_refused("ConnectionError")


def copied(cache: Path, to: Path, damage: str = "") -> None:
    """A copy of the cache that may be written to, with some characters more at the end of one file."""
    to.mkdir()
    for path in cache.iterdir():
        shutil.copyfile(path, to / path.name)
    with (to / VOCAB_BPE).open("a", encoding="utf-8") as file:
        file.write(damage)


def test_a_cache_is_all_it_takes(offline, cache, tokenizer):
    copied(cache, offline)
    assert train_tokenizer("gpt2", no_stories(), 7).fingerprint == tokenizer.fingerprint


def test_a_damaged_cache_is_no_sound_copy(offline, cache):
    """tiktoken deletes the damaged file, so that the message stays true when it is asked again."""
    copied(cache, offline, damage="Ġa b\n")
    for _ in range(2):
        assert_refused("ConnectionError")
    assert not (offline / VOCAB_BPE).exists()


def test_a_damaged_download_is_refused_and_not_kept(offline, monkeypatch):
    monkeypatch.setattr("tiktoken.load.read_file", lambda address: b"<html>Please log in</html>")
    assert_refused("ValueError")
    assert not offline.exists()


ASK = """
import socket, sys
def unreachable(*_): raise socket.gaierror(socket.EAI_NONAME, "no network")
socket.getaddrinfo = socket.socket.connect = unreachable
from storyloom.cli import main
main(sys.argv[1:])
"""


def test_the_command_line_prints_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "cache"))
    words = ["prepare", "storybook", "--limit-mb", "0.01", "--tokenizer", "gpt2", "--out", str(tmp_path / "D")]
    done = subprocess.run([sys.executable, "-c", ASK, *words], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("storyloom: tiktoken has no sound copy of GPT-2's vocabulary")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_near_name_is_offered():
    with pytest.raises(TokenizerError, match="unknown tokenizer 'gpt-2': did you mean 'gpt2'"):
        train_tokenizer("gpt-2", no_stories(), 7)


def test_tiktoken_is_imported_only_when_asked_for():
    check = "import sys, storyloom.data; sys.exit('tiktoken' in sys.modules or 'requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], timeout=120).returncode == 0
