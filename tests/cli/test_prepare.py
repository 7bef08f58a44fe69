import json
import os
import shutil
from collections.abc import Iterator

import pytest

import storyloom
from storyloom.errors import DataError


@pytest.fixture
def closed(workspace) -> Iterator[None]:
    """A folder in the workspace that this process, which is nobody's for the while, may not even list."""
    if not hasattr(os, "geteuid"):
        pytest.skip("this system has no users of that kind")
    (workspace / "closed").mkdir()
    (workspace / "closed" / "a.txt").write_text("a story", encoding="utf-8")
    (workspace / "closed").chmod(0)
    mode = workspace.stat().st_mode
    workspace.chmod(0o755)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root may read everything
    yield
    os.seteuid(user)
    workspace.chmod(mode)
    (workspace / "closed").chmod(0o755)
    shutil.rmtree(workspace / "closed")


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("prepare closed --out X", "closed"),
        ("prepare closed/a.txt --out X", "closed/a.txt"),
        ("prepare many.txt --val closed --out X", "closed"),
        ("prepare many.txt --out closed/X", "closed/X"),
        ("train --data closed --config tiny.toml --out X", "closed"),
        ("tell --model closed", "closed"),
    ],
)
def test_what_may_not_be_read_or_written(command, closed, words, place):
    """A folder that could not be read had no files in it."""
    outcome = command(*words.split())
    assert (outcome.status, outcome.out) == (2, "")
    assert "Permission denied" in outcome.err
    assert f"cannot use {place}" in outcome.err
    assert outcome.err.count("\n") == 1


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


def test_sources_beyond_the_limit_are_noted(command, tmp_path):
    """Caught: the manifest named them as if they had been read."""
    for name in ("b.txt", "c.txt"):
        (tmp_path / name).write_text("beyond", encoding="utf-8")
    words = ["--tokenizer", "char", "--limit-mb", "0.002"]
    outcome = command("prepare", "many.txt", tmp_path / "b.txt", tmp_path / "c.txt", "--out", tmp_path / "X", *words)
    assert (outcome.status, outcome.err) == (0, "note: not read, as --limit-mb was reached before: b.txt, c.txt\n")
    manifest = json.loads((tmp_path / "X" / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["sources"], manifest["not_read"]) == (["many.txt"], ["b.txt", "c.txt"])


def test_cleaning_is_reported(command, tmp_path):
    stories = ["one  bee", "two bees", "“two bees”", "one bee", "\x07", "three bees", "four bees"]
    lines = [json.dumps({"id": 7, "story": story}) for story in stories]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "v.txt").write_text("three bees", encoding="utf-8")
    words = ["--val", tmp_path / "v.txt", "--vocab-size", "257", "--column", "story", "--clean", "--workers", "2"]
    outcome = command("prepare", tmp_path / "a.jsonl", "--out", tmp_path / "X", *words)
    assert (outcome.status, "note" in outcome.err) == (0, False)  # two workers may take two seconds, which is said
    assert outcome.out.startswith(
        "cleaning: 8 stories read; 2 repaired, 1 tidied, 1 dropped empty, 1 dropped duplicate\n"
        "kept out of training, as validation has them too: 1 stories\n"
        "training: 4 stories, "
    )
    strict = command("prepare", tmp_path / "a.jsonl", "--out", tmp_path / "Y", *words[:-2], "--strict-characters")
    assert strict.out.startswith("cleaning: 8 stories read; 2 repaired, 0 stripped of characters, 1 tidied, ")


def test_words_that_are_cut_to_learn_the_tokenizer_are_reported(command, tmp_path):
    """A picture in base64 among the stories made the learning endless; what is done about it is said."""
    (tmp_path / "a.txt").write_text("\n\n".join([*(f"story {n}" for n in range(29)), "x" * 9973]), encoding="utf-8")
    outcome = command(
        "prepare", tmp_path / "a.txt", "--val", "small.txt", "--out", tmp_path / "X", "--vocab-size", "271"
    )
    assert outcome.status == 0
    assert outcome.out.startswith("words of more than 256 characters, cut to learn the tokenizer: 1\n")
    manifest = json.loads((tmp_path / "X" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["corpus"]["long_words_cut"] == 1


def test_the_working_directory_is_no_place_for_data(tmp_path, workspace):
    """A name to put the finished folder under was made from `.`, which has none: a traceback."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        with pytest.raises(DataError, match=r"^\. exists already: choose another `out`"):
            storyloom.prepare(workspace / "many.txt", out=".")
    assert [*tmp_path.iterdir()] == []
