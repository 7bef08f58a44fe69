"""A fingerprint says what a tokenizer does, whichever release of its library wrote the file; examples pin it.

The files in `fixtures` are made by hand: one byte-level BPE as older releases write it (merges "a b", options left out)
and as newer ones do (["a", "b"], all options there), and one of characters, as short and as full as it may be.
"""

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storyloom.data.tokenization import BPETokenizer, load_tokenizer
from storyloom.data.tokenization.fingerprint import fingerprint_of

FIXTURES = Path(__file__).parent / "fixtures"
BPE = "2db86adbf9a65745d290d3d9d3b5f43c3d950ee8f1bfadf88549cdd76cff273f"
CHARACTERS = "b2f0ccc8dcde0e979f9f55b5277cf64ced2f0a5092cd3aabe3537bc5d2b1dccd"

# The canonical form of the characters' files, written out by hand.
ADDED = '"lstrip":false,"normalized":false,"rstrip":false,"single_word":false,"special":true}'
MEANING = (
    '{"added_tokens":[{"content":"<|endoftext|>","id":0,' + ADDED + ',{"content":"<|unknown|>","id":1,' + ADDED + "],"
    '"form":"storyloom tokenizer 1","merges":[],"model":{"type":"WordLevel","unk_token":"<|unknown|>"},"normalizer":[],'
    '"pre_tokenizer":[{"behavior":"Isolated","invert":false,"pattern":{"Regex":"[\\\\s\\\\S]"},"type":"Split"}],'
    '"vocabulary":[[0,"<|endoftext|>"],[1,"<|unknown|>"],[2,"\\n"],[3," "],[4,"a"],[5,"b"],[6,"\\u00e9"]]}'
)


def content_of(name: str) -> dict[str, Any]:
    return json.loads((FIXTURES / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("bpe-merges-as-text", BPE),
        ("bpe-merges-as-pairs", BPE),
        ("char-short", CHARACTERS),
        ("char-full", CHARACTERS),
    ],
)
def test_the_fingerprint_of_a_file_does_not_depend_on_its_form(name, expected):
    """It was a hash of the library's JSON, which two releases of the library have changed."""
    assert fingerprint_of(content_of(name)) == expected


def test_the_canonical_form_is_the_one_written_out_by_hand():
    assert hashlib.sha256(MEANING.encode()).hexdigest() == CHARACTERS


@pytest.mark.parametrize(
    ("name", "expected"), [("bpe-merges-as-text", BPE), ("bpe-merges-as-pairs", BPE), ("char-full", CHARACTERS)]
)
def test_a_loaded_and_saved_tokenizer_keeps_it(tmp_path, name, expected):
    tokenizer = load_tokenizer(FIXTURES / f"{name}.json")
    tokenizer.save(tmp_path / "t.json")
    assert tokenizer.fingerprint == load_tokenizer(tmp_path / "t.json").fingerprint == expected


def test_a_trained_one_has_that_of_the_same_file_by_hand():
    """The merges that GPT-2's rule learns from this text, most frequent pair first: " t", "at", "he", " the"."""
    trained = BPETokenizer.train([" the the the at at"], 257 + 4)
    merges = json.loads(trained._backend.to_str())["model"]["merges"]
    content = content_of("bpe-merges-as-pairs")
    first = 257
    vocabulary = {token: i for token, i in content["model"]["vocab"].items() if i < first}
    vocabulary |= {"".join(merge): first + n for n, merge in enumerate(merges)}
    content["model"] |= {"merges": [" ".join(merge) for merge in merges], "vocab": vocabulary}
    assert trained.fingerprint == fingerprint_of(content)


def _swap_merges(content: dict[str, Any]) -> None:
    merges = content["model"]["merges"]
    merges[0], merges[1] = merges[1], merges[0]


def _swap_ids(content: dict[str, Any]) -> None:
    vocabulary = content["model"]["vocab"]
    vocabulary["at"], vocabulary["he"] = vocabulary["he"], vocabulary["at"]


DECIDE: dict[str, Callable[[dict[str, Any]], object]] = {
    "order of merges": _swap_merges,
    "a merge less": lambda content: content["model"]["merges"].pop(),
    "ids": _swap_ids,
    "pattern": lambda content: content["pre_tokenizer"].update(use_regex=False),
    "space before": lambda content: content["pre_tokenizer"].update(add_prefix_space=True),
    "normalizer": lambda content: content.update(normalizer={"type": "NFC"}),
    "unknown": lambda content: content["model"].update(unk_token="a"),
    "dropout": lambda content: content["model"].update(dropout=0.1),
    "ignored merges": lambda content: content["model"].update(ignore_merges=True),
    "special": lambda content: content["added_tokens"][0].update(special=False),
    "stripping": lambda content: content["added_tokens"][0].update(rstrip=True),
    "no added token": lambda content: content["added_tokens"].clear(),
}


def test_whatever_decides_ids_changes_it():
    found = {BPE}
    for change in DECIDE.values():
        content = copy.deepcopy(content_of("bpe-merges-as-pairs"))
        change(content)
        found.add(fingerprint_of(content))
    assert len(found) == len(DECIDE) + 1


DECIDE_NOTHING: dict[str, Callable[[dict[str, Any]], object]] = {
    "truncation": lambda content: content.update(truncation={"max_length": 7}, padding={"length": 7}),
    "decoder": lambda content: content.update(decoder=None),
    "around a text": lambda content: content.update(post_processor={"type": "ByteLevel"}),
    "a sequence of one": lambda content: content.update(
        pre_tokenizer={"type": "Sequence", "pretokenizers": [content["pre_tokenizer"]]}
    ),
    "no normalizer": lambda content: content.update(normalizer={"type": "Sequence", "normalizers": []}),
    "offsets": lambda content: content["pre_tokenizer"].update(trim_offsets=False),
    "no dropout": lambda content: content["model"].update(dropout=0.0),
    "an option of a later release": lambda content: content["model"].update(cache_capacity=10_000),
}


@pytest.mark.parametrize("change", DECIDE_NOTHING.values(), ids=DECIDE_NOTHING)
def test_what_decides_no_ids_does_not(change):
    content = content_of("bpe-merges-as-pairs")
    change(content)
    assert fingerprint_of(content) == BPE
