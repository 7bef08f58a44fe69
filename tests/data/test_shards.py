"""Shards: many files, one array; and what a data folder refuses."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storyloom.config.formats import content_checksum
from storyloom.data import Data, prepare, shards
from storyloom.data.manifest import FORMAT
from storyloom.data.shards import ShardWriter, Tokens, dtype_for
from storyloom.data.textfile import join_stories
from storyloom.data.tokenization import BPETokenizer, CharTokenizer
from storyloom.errors import DataError, StoryloomError, TokenizerError
from storyloom.files import MANIFEST, sha256_of

STORIES = [[2, 3, 4, 5, 6], [7], [], [8, 9, 10], [11, 12, 13, 14, 15, 16, 17, 18, 19]]
JOINED = [0, 2, 3, 4, 5, 6, 0, 7, 0, 0, 8, 9, 10, 0, 11, 12, 13, 14, 15, 16, 17, 18, 19, 0]


def write(folder: Path, shard_tokens: int) -> ShardWriter:
    tokenizer = CharTokenizer.train(["abcdefghijklmnopqrstuvwxyz"], 0)
    assert tokenizer.eot == 0
    with ShardWriter(folder, "train", tokenizer, shard_tokens) as shards:
        for story in STORIES:
            shards.add(story)
    return shards


@pytest.mark.parametrize("shard_tokens", [1, 2, 3, 5, 7, 11, 23, 24, 101])
def test_many_shards_read_as_one_array(tmp_path, shard_tokens):
    shards = write(tmp_path, shard_tokens)
    assert shards.tokens == len(JOINED) == sum(path.stat().st_size for path in tmp_path.iterdir()) // 2
    assert shards.names == sorted(path.name for path in tmp_path.iterdir())
    tokens = Tokens([tmp_path / name for name in shards.names], dtype_for(28))
    assert len(tokens) == len(JOINED)
    for start in range(len(JOINED) + 1):
        for stop in range(start, len(JOINED) + 1):
            ids = tokens.read(start, stop)
            assert ids.dtype == np.int64
            assert ids.tolist() == JOINED[start:stop]
    assert tokens.positions_of(0).tolist() == [0, 6, 8, 9, 13, 23]
    assert tokens.positions_of(12).tolist() == [15]
    assert tokens.positions_of(20).tolist() == []


def test_a_shard_ends_with_the_story_that_fills_it(tmp_path):
    assert write(tmp_path, 101).names == ["train-00000.bin"]
    names = write(tmp_path, 7).names
    assert [np.fromfile(tmp_path / name, "<u2").tolist() for name in names] == [JOINED[:7], JOINED[7:14], JOINED[14:]]


def test_ids_are_little_endian_and_as_narrow_as_they_can_be(tmp_path):
    assert [dtype_for(v).str for v in (2, 2**16, 2**16 + 1)] == ["<u2", "<u2", "<u4"]

    class Wide(CharTokenizer):
        vocab_size = 2**16 + 1  # pyright: ignore[reportAssignmentType]

    narrow = CharTokenizer.train(["ab"], 0)
    wide = Wide.__new__(Wide)
    wide.eot = 0x10001
    with ShardWriter(tmp_path, "a", narrow) as shards:
        shards.add([3])
    with ShardWriter(tmp_path, "b", wide) as shards:
        shards.add([0x10002])
    assert (tmp_path / "a-00000.bin").read_bytes() == bytes([0, 0, 3, 0, 0, 0])
    assert (tmp_path / "b-00000.bin").read_bytes() == bytes([1, 0, 1, 0, 2, 0, 1, 0, 1, 0, 1, 0])
    assert Tokens([tmp_path / "b-00000.bin"], dtype_for(2**16 + 1)).read(0, 3).tolist() == [0x10001, 0x10002, 0x10001]


@pytest.fixture
def folder(story_data, tmp_path) -> Path:
    """A data folder that may be broken."""
    return shutil.copytree(story_data.path, tmp_path / "D")


def test_a_data_folder_gives_the_stories_with_their_ids(folder):
    data = Data(folder)
    stories = data.val_stories()
    assert len(stories) == data.manifest.val.stories > 1
    assert [story.text for story in data.val_stories(len(stories) + 1)] == [story.text for story in stories]
    for story in stories:
        assert data.tokenizer.encode(story.text) == story.ids.tolist()
    assert data.fingerprint == Data(str(folder)).fingerprint


def test_a_few_validation_stories_are_spread_over_the_text(tmp_path):
    """The first 100 of the 991 real ones need a sixth fewer bits than all: they once stood for all while training."""
    (tmp_path / "v.txt").write_text(join_stories(f"story {n}" for n in range(11)), encoding="utf-8")
    (tmp_path / "a.txt").write_text("history 0123456789", encoding="utf-8")
    data = prepare(tmp_path / "a.txt", out=tmp_path / "D", val=tmp_path / "v.txt", tokenizer="char")
    picked = data.val_stories(5)
    assert [story.text for story in picked] == [f"story {n}" for n in (0, 2, 4, 6, 8)]
    assert all(data.tokenizer.decode(story.ids) == story.text for story in picked)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


@pytest.mark.parametrize("damage", [_flip, _cut, Path.unlink])
@pytest.mark.parametrize("name", ["train-00000.bin", "val-00000.bin", "val.txt"])
def test_altered_files_are_refused(folder, name, damage):
    damage(folder / name)
    data = Data(folder)

    def read() -> object:
        return data.tokens("train") if name.startswith("train") else data.val_stories()

    with pytest.raises(DataError) as caught:
        read()
    assert name in str(caught.value)
    assert "prepare" in str(caught.value)


def _set(**changes):
    def change(folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text())
        (folder / MANIFEST).write_text(json.dumps(manifest | changes))

    return change


def _other_tokenizer(folder: Path) -> None:
    BPETokenizer.train(["some other stories"], 263).save(folder / "tokenizer.json")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (_set(format=FORMAT + 1), f"has format {FORMAT + 1}, this version of storyloom reads {FORMAT}"),
        (_other_tokenizer, "is not the one the shards were made with"),
        (lambda folder: (folder / MANIFEST).unlink(), "is no data folder"),
        (lambda folder: shutil.rmtree(folder), "is no data folder"),
        (lambda folder: _cut(folder / MANIFEST), "cannot be read as a data manifest"),
        (lambda folder: (folder / MANIFEST).write_text("[3]"), "cannot be read as a data manifest"),
        (lambda folder: (folder / MANIFEST).write_text("{}"), "cannot be read as a data manifest"),
    ],
)
def test_a_folder_that_is_not_what_it_was_is_refused(folder, change, part):
    change(folder)
    with pytest.raises(DataError) as caught:
        Data(folder)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def sealed(folder: Path, **changes) -> None:
    """The manifest with changes and a right checksum."""
    content = json.loads((folder / MANIFEST).read_text()) | changes
    found = {name: value for name, value in content.items() if name not in ("format", "sha256")}
    (folder / MANIFEST).write_text(json.dumps(content | {"sha256": content_checksum(found)}))


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"train": 3}, "train: "),
        ({"sources": [3]}, "sources.0: "),
        ({"more": 3}, "more: "),
        ({"settings": {"vocab_size": 257}}, "settings lacks tokenizer"),
        ({"settings": {"tokenizer": 7}}, "settings lacks"),
        ({"split_by": "\ud800"}, "cannot be read"),
        ({"format": True}, "not as it was written"),
        ({"format": 0}, "not as it was written"),
    ],
)
def test_a_manifest_is_validated_under_its_right_checksum(folder, changes, part):
    """A missing or wrong value was found where it was used, in a traceback; a missing setting took its default."""
    sealed(folder, **changes)
    with pytest.raises(DataError, match=r"manifest\.json cannot be read as a data manifest") as caught:
        Data(folder)
    assert part in str(caught.value)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a": "\\ud800"}', "\x00"])
def test_what_is_no_manifest_at_all_is_one_line(folder, content):
    (folder / MANIFEST).write_text(content)
    with pytest.raises(DataError, match="cannot be read as a data manifest"):
        Data(folder)


def test_a_broken_or_missing_tokenizer_is_refused(folder):
    _cut(folder / "tokenizer.json")
    with pytest.raises(TokenizerError, match="cannot read the tokenizer"):
        Data(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(TokenizerError, match="no tokenizer at"):
        Data(folder)


def test_a_file_is_no_data_folder(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    with pytest.raises(DataError, match="is no data folder"):
        Data(tmp_path / "a.txt")


def test_no_error_escapes_the_tree(folder):
    for name in (MANIFEST, "tokenizer.json"):
        whole = (folder / name).read_bytes()
        for cut in range(0, len(whole), max(1, len(whole) // 13)):
            (folder / name).write_bytes(whole[:cut])
            with pytest.raises(StoryloomError):
                Data(folder)
        (folder / name).write_bytes(whole)
    Data(folder)


def test_shards_that_do_not_fit_the_text_are_refused(tmp_path):
    """val.txt with a story more than its shards, both under their right checksums."""
    (tmp_path / "a.txt").write_text("one\n<|endoftext|>\ntwo")
    (tmp_path / "v.txt").write_text("three")
    data = prepare(tmp_path / "a.txt", val=tmp_path / "v.txt", out=tmp_path / "D", tokenizer="bpe", vocab_size=257)
    val = replace(data.manifest.val, shards=data.manifest.train.shards)
    data.manifest = replace(data.manifest, val=val)
    with pytest.raises(DataError, match=r"val\.txt has 1 stories, its shards 2"):
        data.val_stories()


def test_each_file_is_verified_once_by_an_opened_folder(folder, monkeypatch):
    """Every probe of a training read all shards again, which takes seconds a gigabyte."""
    read = []
    monkeypatch.setattr(shards, "sha256_of", lambda path: read.append(path.name) or sha256_of(path))
    data = Data(folder)
    for _ in range(3):
        data.tokens("train")
        data.tokens("val")
        data.val_stories(3)
    assert sorted(read) == ["train-00000.bin", "val-00000.bin", "val.txt"]
    Data(folder).tokens("train")
    assert len(read) == 4


@pytest.mark.parametrize("path", ["", b"D", 3, None])
def test_what_is_no_path_is_refused(path):
    """An empty path is the working directory; others were TypeErrors."""
    with pytest.raises(DataError, match="the data folder") as caught:
        Data(path)
    assert "\n" not in str(caught.value)
