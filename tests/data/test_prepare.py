"""Stories to a data folder: the split, the figures, and what is left when it fails."""

import hashlib
import json
import os
import random
from collections.abc import Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from storyloom.config import DataConfig, load_preset
from storyloom.data import Data, parallel, prepare, sources
from storyloom.data.manifest import read_manifest
from storyloom.data.sources import STORYBOOK_SEED, read_stories
from storyloom.data.textfile import join_stories
from storyloom.data.tokenization import TOKENIZERS, BPETokenizer
from storyloom.errors import ConfigError, DataError, StoryloomError, TokenizerError
from storyloom.storybook import tell

module = import_module("storyloom.data.prepare")  # the package has the function under the same name


def text_file(folder: Path, stories: list[str], name: str = "a.txt") -> Path:
    (folder / name).write_bytes(join_stories(stories).encode())
    return folder / name


def split_stories(data: Data, split: str) -> Iterator[str]:
    """The stories of a split, decoded from its shards."""
    tokens = data.tokens(split)
    ends = tokens.positions_of(data.tokenizer.eot)
    assert (ends[0], ends[-1]) == (0, len(tokens) - 1)
    for start, end in pairwise(ends):
        yield data.tokenizer.decode(tokens.read(int(start) + 1, int(end)).tolist())


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


STORIES = [f"The {n}th story tells of {n * n} mice." for n in range(1009)]


def test_the_split_is_whole_disjoint_and_of_the_asked_size(tmp_path):
    data = prepare(text_file(tmp_path, STORIES), out=tmp_path / "D", vocab_size=293, val_fraction=0.23)
    train, val = list(split_stories(data, "train")), list(split_stories(data, "val"))
    assert sorted(train + val) == sorted(STORIES)
    assert not set(train) & set(val)
    assert abs(len(val) - 0.23 * 1009) < 4 * (0.23 * 0.77 * 1009) ** 0.5  # four standard deviations
    assert [train, val] == [
        [story for story in STORIES if story in part] for part in (set(train), set(val))
    ]  # in order
    assert val == [story.text for story in data.val_stories()] == read_stories(tmp_path / "D" / "val.txt")


def test_a_story_keeps_its_side_whatever_stands_around_it(tmp_path):
    """So that a larger text, or the same one in another order, never trains on what was held out before."""
    shuffled = [*STORIES[:500], STORIES[3], STORIES[3]]
    random.Random(7).shuffle(shuffled)
    whole = prepare(text_file(tmp_path, STORIES), out=tmp_path / "D", tokenizer="char")
    part = prepare(text_file(tmp_path, shuffled, "b.txt"), out=tmp_path / "E", tokenizer="char")
    held_out = set(split_stories(whole, "val"))
    assert list(split_stories(part, "val")) == [story for story in shuffled if story in held_out]


def test_the_figures_of_the_manifest_are_counted_by_hand(tmp_path):
    train = text_file(tmp_path, ["abc", "Zoé", "a\nb"])  # 3, 4 and 3 bytes; 3 tokens each
    val = text_file(tmp_path, ["ab", "ce🙂"], "v.txt")  # 2 and 6 bytes; 2 and 3 tokens, 🙂 and e unknown
    data = prepare(train, out=tmp_path / "D", val=val, tokenizer="char")
    shown = data.manifest
    assert (shown.train.stories, shown.train.bytes, shown.train.tokens) == (3, 10, 1 + 3 * 4)
    assert (shown.val.stories, shown.val.bytes, shown.val.tokens) == (2, 8, 1 + 3 + 4)
    assert (shown.train.stories_with_unknown_characters, shown.val.stories_with_unknown_characters) == (
        0,
        1,
    )
    assert shown.tokenizer.vocab_size == 2 + len(set("abcZoé\n"))
    assert shown.sources == ["a.txt"]
    assert str(val) in shown.split_by
    text = b"ab\n<|endoftext|>\nce\xf0\x9f\x99\x82\n<|endoftext|>\n"
    assert (tmp_path / "D" / "val.txt").read_bytes() == text
    assert shown.val.text_sha256 == hashlib.sha256(text).hexdigest()
    shard = (tmp_path / "D" / "train-00000.bin").read_bytes()
    assert shown.train.shards == {"train-00000.bin": hashlib.sha256(shard).hexdigest()}
    sorted_characters = "\nZabcoé"  # their ids follow the two special ones
    ids = [[2 + sorted_characters.index(c) for c in story] for story in ("abc", "Zoé", "a\nb")]
    assert np.frombuffer(shard, "<u2").tolist() == [0, *ids[0], 0, *ids[1], 0, *ids[2], 0]


def test_the_same_text_gives_the_same_bytes(tmp_path):
    text = text_file(tmp_path, STORIES)
    for tokenizer in ("bpe", "char"):
        prepare(text, out=tmp_path / "D" / tokenizer, tokenizer=tokenizer)
        prepare(text, out=tmp_path / "E" / tokenizer, tokenizer=tokenizer)
    assert tree(tmp_path / "D") == tree(tmp_path / "E")
    assert len(tree(tmp_path / "D")) == 10


def test_several_sources_are_joined_in_order(tmp_path):
    a, b = text_file(tmp_path, STORIES[:11]), text_file(tmp_path, STORIES[11:24], "b.txt")
    v = text_file(tmp_path, ["x"], "v.txt")
    data = prepare(b, a, val=v, out=tmp_path / "D", vocab_size=257)
    assert list(split_stories(data, "train")) == STORIES[11:24] + STORIES[:11]
    assert data.manifest.sources == ["b.txt", "a.txt"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="file names are text here")
def test_a_source_whose_name_cannot_be_written_down_is_refused(tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.txt")
    path.write_text("a cat", encoding="utf-8")
    with pytest.raises(DataError, match="is not UTF-8, and the manifest cannot name it: rename it"):
        prepare(path, out=tmp_path / "D")
    assert [*tmp_path.iterdir()] == [path]


def test_the_limit_holds_over_all_sources_but_not_over_val(tmp_path):
    stories = [f"{n:03d}" for n in range(29)]  # 3 bytes each
    a, b = text_file(tmp_path, stories[:5]), text_file(tmp_path, stories[5:], "b.txt")
    v = text_file(tmp_path, ["a", "b" * 101], "v.txt")
    data = prepare(a, b, val=v, out=tmp_path / "D", vocab_size=257, limit_mb=20e-6)
    assert list(split_stories(data, "train")) == stories[:7]  # the seventh crosses 20 bytes
    assert data.manifest.val.stories == 2
    assert (data.manifest.sources, data.manifest.not_read) == (["a.txt", "b.txt"], [])


def test_a_data_folder_among_the_sources_is_passed_over(tmp_path):
    """Caught: prepared a second time, a folder gave the validation stories of the first time once more."""
    (tmp_path / "a").mkdir()
    text_file(tmp_path / "a", STORIES[:83])
    first = prepare(tmp_path / "a", out=tmp_path / "a" / "D", vocab_size=257)
    second = prepare(tmp_path / "a", out=tmp_path / "a" / "E", vocab_size=257)
    assert tree(first.path) == tree(second.path)
    with pytest.raises(DataError, match=r"no file below the folder .* \(data folders and runs are passed over\)"):
        prepare(first.path, out=tmp_path / "E")


def test_the_storybook_is_told_to_the_limit(tmp_path):
    data = prepare("storybook", out=tmp_path / "D", vocab_size=257, limit_mb=0.03)
    told = [*split_stories(data, "train"), *split_stories(data, "val")]
    assert sorted(told) == sorted(tell(STORYBOOK_SEED, index).text for index in range(len(told)))
    size = data.manifest.train.bytes + data.manifest.val.bytes
    assert 30_000 <= size < 33_000
    assert data.manifest.storybook == module.storybook.VERSION


def test_the_grammars_version_is_kept_where_the_storybook_tells(tmp_path):
    """Caught: it was kept for a folder of that name, and not for the storybook as validation."""
    (tmp_path / "storybook").mkdir()
    text_file(tmp_path / "storybook", STORIES[:83])
    named = prepare(tmp_path / "storybook", out=tmp_path / "D", vocab_size=257)
    assert (named.manifest.sources, named.manifest.storybook) == (["storybook"], None)
    data = prepare(tmp_path / "storybook", val="storybook", out=tmp_path / "E", vocab_size=257, limit_mb=0.01)
    assert data.manifest.storybook == module.storybook.VERSION


def test_a_preset_is_used_and_overridden(tmp_path):
    v = text_file(tmp_path, ["x"], "v.txt")
    data = prepare(text_file(tmp_path, STORIES), val=v, out=tmp_path / "D", preset="tiny")
    assert data.manifest.settings["vocab_size"] == load_preset("tiny").data.vocab_size
    data = prepare(text_file(tmp_path, STORIES), val=v, out=tmp_path / "E", preset="tiny", vocab_size=263)
    assert data.tokenizer.vocab_size == data.manifest.settings["vocab_size"] == 263


def test_every_setting_but_the_rows_is_kept(tmp_path):
    """Rows are laid out in training, by its own settings."""
    given = {
        "tokenizer": "char",
        "vocab_size": 263,
        "column": "story",
        "clean": True,
        "strict_characters": True,
        "limit_mb": 0.7,
        "val_fraction": 0.3,
    }
    data = prepare(text_file(tmp_path, STORIES), out=tmp_path / "D", preset=DataConfig(**given, rows="padded"))
    assert data.manifest.settings == given
    assert given.keys() | {"rows"} == DataConfig.model_fields.keys()


def test_a_tokenizer_file_is_taken_as_it_is(tmp_path):
    tokenizer = BPETokenizer.train(STORIES[:7], 271)
    tokenizer.save(tmp_path / "t.json")
    data = prepare(text_file(tmp_path, STORIES), out=tmp_path / "D", tokenizer=str(tmp_path / "t.json"))
    assert data.tokenizer.fingerprint == tokenizer.fingerprint == data.manifest.tokenizer.fingerprint
    assert list(split_stories(data, "val")) == [story.text for story in data.val_stories()]


@pytest.mark.parametrize("options", [{"vocab_size": 263}, {"tokenizer": "char"}])
def test_more_stories_than_are_encoded_at_once(tmp_path, monkeypatch, options):
    text, val = text_file(tmp_path, STORIES), text_file(tmp_path, [f"ñ{n}" for n in range(23)], "v.txt")
    data = prepare(text, val=val, out=tmp_path / "D", **options)
    monkeypatch.setattr(parallel, "STORIES_AT_ONCE", 7)
    prepare(text, val=val, out=tmp_path / "E", **options)
    assert tree(tmp_path / "D") == tree(tmp_path / "E")
    assert data.manifest.val.stories_with_unknown_characters == (23 if "tokenizer" in options else 0)


def test_a_folder_that_is_there_is_refused_and_untouched(tmp_path):
    text = text_file(tmp_path, STORIES)
    (tmp_path / "D").mkdir()
    (tmp_path / "D" / "mine").write_text("precious")
    for out in (tmp_path / "D", text):
        before = tree(tmp_path)
        with pytest.raises(DataError, match="exists already: choose another `out`, or remove it first"):
            prepare(text, out=out)
        assert tree(tmp_path) == before
    (tmp_path / "empty").mkdir()
    assert prepare(text, out=tmp_path / "empty", vocab_size=257).path == tmp_path / "empty"


@pytest.mark.parametrize(
    ("stories", "options", "error", "part"),
    [
        (["one story alone"], {}, DataError, "no story"),  # on one side or the other
        ([], {}, DataError, r"no story in .*a\.txt"),
        (STORIES[:20], {"vocab_size": 101}, TokenizerError, "101"),
        (STORIES[:20], {"vocab_size": 1}, ConfigError, "data.vocab_size = 1"),
        (STORIES[:20], {"val_fraction": 1.5}, ConfigError, "val_fraction = 1.5"),
        (STORIES[:20], {"tokenizer": "bpr"}, TokenizerError, "did you mean 'bpe'"),
        (STORIES[:20], {"val": "no/v.txt"}, DataError, "no such file: no/v.txt"),
        (STORIES[:20], {"val": "storybok"}, DataError, "no such file: storybok; did you mean 'storybook'"),
        (STORIES[:20], {"val": "a.txt", "val_fraction": 0.2}, ConfigError, r"val_fraction = 0\.2 and val = a\.txt"),
        (STORIES[:20], {"tokenizer": "char", "vocab_size": 300}, ConfigError, "vocab_size = 300 with tokenizer = char"),
        (STORIES[:20], {"strict_characters": True}, ConfigError, "strict_characters is a part of cleaning"),
        (STORIES[:20], {"workers": 0}, ConfigError, "workers = 0: at least 1"),
        (STORIES[:20], {"val": "hub:me"}, DataError, "'hub:me' names no data set: write hub:OWNER/NAME"),
        (STORIES[:20], {"preset": "labtop"}, ConfigError, "did you mean 'laptop'"),
    ],
)
def test_what_cannot_be_prepared_leaves_nothing(tmp_path, stories, options, error, part):
    text = text_file(tmp_path, stories)
    with pytest.raises(error, match=part) as caught:
        prepare(text, out=tmp_path / "D", **options)
    assert isinstance(caught.value, StoryloomError)
    assert "\n" not in str(caught.value)
    assert list(tree(tmp_path)) == ["a.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_story_with_one_huge_word_is_prepared(tmp_path):
    """Learning merges from it took a time that grows with the square of its length."""
    huge = "ab" * 200_000
    data = prepare(text_file(tmp_path, [*STORIES, huge]), val=text_file(tmp_path, ["x"], "v.txt"), out=tmp_path / "D")
    assert list(split_stories(data, "train")) == [*STORIES, huge]
    assert data.manifest.corpus["long_words_cut"] == 1


def test_no_source_is_refused(tmp_path):
    with pytest.raises(DataError, match="no source of stories"):
        prepare(out=tmp_path / "D")


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_failure_half_way_leaves_nothing(tmp_path, monkeypatch, error):
    text = text_file(tmp_path, STORIES)
    encode_all, calls = TOKENIZERS["bpe"].encode_all, []

    def failing(self, texts):
        calls.append(len(texts))
        if len(calls) == 2:
            raise error
        return encode_all(self, texts)

    monkeypatch.setattr(parallel, "STORIES_AT_ONCE", 101)
    monkeypatch.setattr(TOKENIZERS["bpe"], "encode_all", failing)
    with pytest.raises(type(error)):
        prepare(text, out=tmp_path / "D", vocab_size=263)
    assert calls == [101, 101]
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_text_that_is_not_utf8_late_in_the_file_leaves_nothing(tmp_path):
    (tmp_path / "a.txt").write_bytes(join_stories(STORIES[:41]).encode() + b"caf\xe9")
    with pytest.raises(DataError, match="line 83"):
        prepare(tmp_path / "a.txt", out=tmp_path / "D", vocab_size=263)
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_the_manifest_is_plain_json(tmp_path):
    data = prepare(text_file(tmp_path, STORIES), out=tmp_path / "D", vocab_size=263)
    assert read_manifest(tmp_path / "D") == data.manifest


@pytest.fixture
def _small_batches(monkeypatch):
    """Enough of them for every worker."""
    monkeypatch.setattr(parallel, "STORIES_AT_ONCE", 13)


@pytest.mark.usefixtures("_small_batches")
def test_every_kind_of_source_and_any_number_of_workers_give_the_same_bytes(write_kinds):
    specs = write_kinds([tell(5, index).text for index in range(83)])
    assert len(specs) == 6
    made = {}
    for spec, workers in [*((spec, 1) for spec in specs.values()), ("stories.jsonl", 2), ("hub:me/stories", 3)]:
        folder = Path(f"{spec.replace('/', '-')}-{workers}")
        prepare(spec, out=folder, vocab_size=307, val_fraction=0.2, clean=True, workers=workers)
        made[folder.name] = {name: content for name, content in tree(folder).items() if name != "manifest.json"}
        if workers > 1:
            assert tree(folder) == tree(folder.with_name(folder.name[:-1] + "1"))  # the manifest, too
    first = made.pop("stories.txt-1")
    assert all(files == first for files in made.values())
    assert sorted(first) == ["tokenizer.json", "train-00000.bin", "val-00000.bin", "val.txt"]


def test_the_storybooks_stories_stay_comparable_when_cleaned(tmp_path):
    """They have nothing to clean, so that the exact limit still holds for them."""
    data = prepare("storybook", out=tmp_path / "D", vocab_size=257, clean=True, limit_mb=0.03)
    assert (data.manifest.corpus["repaired"], data.manifest.corpus["tidied"]) == (0, 0)


def test_a_story_on_both_sides_is_kept_out_of_training(tmp_path):
    """A model that has seen its validation stories looks better than it is."""
    train, val = text_file(tmp_path, STORIES[:31]), text_file(tmp_path, [STORIES[7], "x", STORIES[3]], "v.txt")
    data = prepare(train, train, val=val, out=tmp_path / "D", vocab_size=257)
    kept = [story for story in STORIES[:31] if story not in (STORIES[3], STORIES[7])]
    assert list(split_stories(data, "train")) == kept * 2
    assert list(split_stories(data, "val")) == [STORIES[7], "x", STORIES[3]]
    assert data.manifest.corpus == {"read": 65, "on_both_sides": 4, "long_words_cut": 0}
    with pytest.raises(
        DataError, match=r"no story in .*v\.txt to train on: .* or validation has all of its stories, too"
    ):
        prepare(val, val=val, out=tmp_path / "E", vocab_size=257)


def test_a_separator_inside_a_story_is_kept(tmp_path):
    """Such stories come from tables; written plainly to val.txt they would be cut in two."""
    stories = ["one\n<|endoftext|>\ntwo", "three\n\\<|endoftext|>", "<|endoftext|>"]
    for name in ("a.jsonl", "v.jsonl"):
        lines = [json.dumps({"text": story + name}) for story in stories] + [json.dumps({"text": name})]
        (tmp_path / name).write_text("\n".join(lines))
    data = prepare(tmp_path / "a.jsonl", val=tmp_path / "v.jsonl", out=tmp_path / "D", vocab_size=257)
    expected = [*(story + "v.jsonl" for story in stories), "v.jsonl"]
    assert list(split_stories(data, "val")) == [story.text for story in data.val_stories()] == expected
    assert list(split_stories(data, "train")) == [story.replace("v.j", "a.j") for story in expected]


def test_cleaned_stories_are_what_is_encoded_and_evaluated(tmp_path):
    train = text_file(tmp_path, ["“One”  bee.", "Two bees.", "Two\u00a0bees."])
    val = text_file(tmp_path, ["Three — bees…", "***"], "v.txt")
    options = {"vocab_size": 257, "clean": True, "strict_characters": True}
    data = prepare(train, val=val, out=tmp_path / "D", **options)
    assert list(split_stories(data, "train")) == ['"One" bee.', "Two bees."]
    assert [story.text for story in data.val_stories()] == ["Three bees"]
    assert data.manifest.settings | options == data.manifest.settings
    assert data.manifest.corpus["validation_altered"] == 2


class Recorded:
    """A source that writes down each time it is read."""

    name = "recorded"

    def __init__(self, path: Path, column: str) -> None:
        self.readings: list[None] = []

    def __iter__(self) -> Iterator[str]:
        self.readings.append(None)
        return iter(STORIES)


def test_a_source_is_read_once(tmp_path, monkeypatch):
    """It may be a stream from afar."""
    opened: list[Recorded] = []

    def kind(path: Path, column: str) -> Recorded:
        opened.append(Recorded(path, column))
        return opened[-1]

    monkeypatch.setitem(sources.FILE_KINDS, ".txt", kind)
    prepare(text_file(tmp_path, []), out=tmp_path / "D", vocab_size=257)
    with pytest.raises(TokenizerError):  # which is known before anything is read
        prepare(tmp_path / "a.txt", out=tmp_path / "E", tokenizer="bpr")
    assert [len(source.readings) for source in opened] == [1]
