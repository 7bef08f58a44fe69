import json
import os

import pytest

REFUSALS = {
    "missing file": (["nope.txt"], ["no such file: nope.txt", "storybook"]),
    "misspelt storybook": (["storybok"], ["did you mean 'storybook'?"]),
    "empty file": (["empty.txt"], ["no story in empty.txt", "the text is empty"]),
    "white space only": (["white.txt"], ["no story in white.txt", "the text is empty"]),
    "not UTF-8": (["latin.txt"], ["latin.txt is not UTF-8", "0xe9", "line 3", "iconv"]),
    "one story only": (["one.txt"], ["no story", "one.txt"]),
    "a folder of nothing": (["emptydir"], ["no file below the folder emptydir ends in .txt, .jsonl, .parquet"]),
    "another kind of file": (["afile"], ["cannot read afile", ".txt"]),
    "no source": ([], ["Missing argument 'SOURCE", "see `storyloom prepare --help`"]),
    "missing validation file": (["many.txt", "--val", "nope.txt"], ["nope.txt"]),
    "empty validation file": (["many.txt", "--val", "empty.txt"], ["no story in empty.txt", "--val", "another"]),
    "no validation story": (
        ["many.txt", "--val-fraction", "0.000001"],
        ["no story for validation from many.txt", "<|endoftext|>", "--val-fraction", "--val"],
    ),
    "all validation": (["many.txt", "--val-fraction", "0.9999999"], ["no story in many.txt", "lower --val-fraction"]),
    "val_fraction 0": (["many.txt", "--val-fraction", "0"], ["val_fraction = 0", "greater than 0"]),
    "val_fraction 1": (["many.txt", "--val-fraction", "1"], ["val_fraction = 1", "less than 1"]),
    "unknown tokenizer": (["many.txt", "--tokenizer", "bpee"], ["'bpee'", "did you mean 'bpe'?", "tokenizer.json"]),
    "missing tokenizer": (["many.txt", "--tokenizer", "nope.json"], ["no tokenizer at nope.json"]),
    "no tokenizer": (["many.txt", "--tokenizer", "afile"], ["cannot read the tokenizer afile"]),
    "vocabulary too small": (["many.txt", "--vocab-size", "256"], ["vocab_size = 256", "at least 257"]),
    "vocabulary of 1": (["many.txt", "--vocab-size", "1"], ["vocab_size = 1", "2"]),
    "no number": (
        ["many.txt", "--vocab-size", "many"],
        ["'--vocab-size'", "integer", "(got 'many')", "see `storyloom prepare --help`"],
    ),
    "no number, joined": (["many.txt", "--vocab-size=2.5"], ["'--vocab-size'", "integer", "(got '2.5')"]),
    "limit of 0": (["many.txt", "--limit-mb", "0"], ["limit_mb = 0", "greater than 0"]),
    "unknown preset": (["many.txt", "--preset", "laptob"], ["'laptob'", "did you mean 'laptop'?"]),
}


@pytest.mark.parametrize(("words", "fragments"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refusals(refused, tmp_path, words, fragments):
    message = refused("prepare", *words, "--out", tmp_path / "new" / "X")
    assert [fragment for fragment in fragments if fragment not in message] == [], message


@pytest.mark.parametrize(
    ("out", "fragments"),
    [
        ("D", ["D exists already", "--out", "remove it"]),
        ("afile", ["afile exists already", "--out"]),
        ("afile/X", ["cannot use afile/X: Not a directory", "another place"]),
        (".", ["exists already"]),
    ],
)
def test_an_out_that_cannot_be_made(refused, out, fragments):
    message = refused("prepare", "many.txt", "--out", out)
    assert [fragment for fragment in fragments if fragment not in message] == [], message
    assert "partial" not in message  # a name of ours that the user never gave


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_an_out_where_nothing_may_be_written(refused, tmp_path):
    (tmp_path / "closed").mkdir(mode=0o500)
    assert "Permission denied" in refused("prepare", "many.txt", "--out", tmp_path / "closed" / "X")


def test_it_says_what_was_made(command, tmp_path):
    outcome = command("prepare", "many.txt", "--out", tmp_path / "X", "--tokenizer", "char", "--val-fraction", "0.2")
    manifest = json.loads((tmp_path / "X" / "manifest.json").read_text(encoding="utf-8"))
    assert (outcome.status, outcome.err) == (0, "")
    for name, split in (("training", "train"), ("validation", "val")):
        part = manifest[split]
        assert f"{name}: {part['stories']} stories, {part['bytes']:,} bytes, {part['tokens']:,} tokens" in outcome.out
    assert manifest["train"]["stories"] + manifest["val"]["stories"] == 97
    assert outcome.out.endswith(f"tokens; written to {tmp_path / 'X'}\n")


def test_options_reach_the_data(command, tmp_path):
    words = ["--preset", "tiny", "--vocab-size", "263", "--val", "small.txt", "--limit-mb", "0.002"]
    assert command("prepare", "many.txt", "--out", tmp_path / "X", *words).status == 0
    manifest = json.loads((tmp_path / "X" / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["tokenizer"]["vocab_size"], manifest["val"]["stories"]) == (263, 19)
    assert 2000 <= manifest["train"]["bytes"] < 2000 + 100


def test_unknown_characters_are_noted_on_standard_error(command, tmp_path):
    (tmp_path / "val.txt").write_text("In year 3 a ñandú sat down.", encoding="utf-8")
    words = ["--tokenizer", "char", "--val", tmp_path / "val.txt"]
    outcome = command("prepare", "many.txt", "--out", tmp_path / "X", *words)
    assert outcome.status == 0
    assert outcome.err.startswith("note: 1 validation stories have characters that the tokenizer does not know")
