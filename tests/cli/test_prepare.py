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
    "two kinds of validation": (
        ["many.txt", "--val", "small.txt", "--val-fraction", "0.2"],
        ["val_fraction = 0.2 and val = small.txt contradict each other", "give one of them"],
    ),
    "a vocabulary that brings its size": (
        ["many.txt", "--tokenizer", "char", "--vocab-size", "300"],
        ["vocab_size = 300 with tokenizer = char", "leave --vocab-size out, or take --tokenizer bpe"],
    ),
    "strict without clean": (["many.txt", "--strict-characters"], ["strict_characters", "clean"]),
    "no workers": (["many.txt", "--workers", "0"], ["workers = 0", "at least 1"]),
    "no data set": (["hub:stories"], ["'hub:stories' names no data set", "hub:OWNER/NAME"]),
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


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        ([], ["a.jsonl, line 3 is no JSON (Expecting value)", "one whole object a line"]),
        (["--column", "txt"], ["a.jsonl, line 1 has no column 'txt'", "--column", "did you mean 'text'?"]),
    ],
)
def test_a_broken_line_is_named(refused, tmp_path, words, fragments):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n\n{"text": ', encoding="utf-8")
    message = refused("prepare", tmp_path / "a.jsonl", "--out", tmp_path / "X", *words)
    assert [fragment for fragment in fragments if fragment not in message] == [], message


def test_offline_the_way_out_is_named(refused, tmp_path, monkeypatch):
    def dataset_info(*_: object, **__: object) -> None:
        raise OSError("[Errno -2] Name or service not known")

    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", dataset_info)
    message = refused("prepare", "hub:owner/some-stories:of-bees", "--out", tmp_path / "X")
    assert "hub:owner/some-stories:of-bees: the hub cannot be reached (Name or service not known)" in message
    assert "another machine" in message
    assert "storybook" in message


def test_cleaning_is_reported(command, tmp_path):
    stories = ["one  bee", "two bees", "“two bees”", "one bee", "\x07", "three bees", "four bees"]
    lines = [json.dumps({"id": 7, "story": story}) for story in stories]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "v.txt").write_text("three bees", encoding="utf-8")
    words = ["--val", tmp_path / "v.txt", "--vocab-size", "257", "--column", "story", "--clean", "--workers", "2"]
    outcome = command("prepare", tmp_path / "a.jsonl", "--out", tmp_path / "X", *words)
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith(
        "cleaning: 8 stories read; 2 repaired, 1 tidied, 1 dropped empty, 1 dropped duplicate\n"
        "1 stories of validation kept out of training\n"
        "training: 4 stories, "
    )
    strict = command("prepare", tmp_path / "a.jsonl", "--out", tmp_path / "Y", *words[:-2], "--strict-characters")
    assert strict.out.startswith("cleaning: 8 stories read; 2 repaired, 0 stripped of characters, 1 tidied, ")
