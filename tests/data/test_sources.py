"""Whatever a source is: the same stories, in the same form, and a way out where it cannot be read."""

import os
import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storyloom import storybook
from storyloom.data.sources import (
    STORYBOOK_SEED,
    Storybook,
    is_source,
    limited,
    open_source,
    read_stories,
)
from storyloom.data.textfile import normalise
from storyloom.errors import DataError
from storyloom.files import building_folder


def test_open_source(tmp_path):
    (tmp_path / "a.TXT").write_text("one")
    assert isinstance(open_source("storybook"), Storybook)
    assert list(open_source(str(tmp_path / "a.TXT"))) == ["one"]


def test_what_cannot_be_opened_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "a.text").write_text("one")
    (tmp_path / "bare").write_text("one")
    for spec, part in {
        str(tmp_path / "a.text"): r"its ending is \.text; did you mean '\.txt'",
        str(tmp_path / "bare"): r"its ending is missing; known: \.jsonl, \.parquet, \.txt",
        str(tmp_path / "none.txt"): r"no such file: .*none\.txt; .*storybook",
        "storybok": "no such file: storybok; did you mean 'storybook'",
        "": "no such file: ''; known: storybook",  # such as "$TEXT" with no TEXT; once the whole working directory
    }.items():
        with pytest.raises(DataError, match=part):
            open_source(spec)


def test_a_text_without_stories_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("\n<|endoftext|>\n \n")
    with pytest.raises(DataError, match=r"a\.txt holds no story"):
        read_stories(tmp_path / "a.txt")


def test_the_story_that_crosses_the_limit_is_the_last():
    stories = ["abc", "dé", "fgh", "ijk"]  # 3, 3, 3 and 3 bytes
    assert list(limited(stories, 1e-6)) == ["abc"]
    assert list(limited(stories, 3e-6)) == ["abc"]
    assert list(limited(stories, 4e-6)) == ["abc", "dé"]
    assert list(limited(stories, 6e-6)) == ["abc", "dé"]
    assert list(limited(stories, 7e-6)) == ["abc", "dé", "fgh"]
    assert list(limited(stories, 1.0)) == stories


def test_the_storybook_tells_its_stories_in_order():
    stories = [storybook.tell(STORYBOOK_SEED, index).text for index in range(3)]
    sizes = [len(story) for story in stories]  # ASCII
    assert list(Storybook(limit_mb=(sum(sizes) - 1) / 1e6)) == stories


def test_a_file_that_is_named_like_the_storybook_is_not_the_storybook():
    """`evaluate --text storybook` once read the endless grammar until the memory was full, and then asked back whether
    'storybook' was meant.
    """
    with pytest.raises(DataError, match=r"no such file: storybook; name a folder, or a path ending in \.txt"):
        read_stories(Path("storybook"))


def test_every_kind_gives_the_same_normalised_stories(write_kinds):
    marks = "three\n<|endoftext|>\n\\<|endoftext|>\n\nmarks"
    specs = write_kinds([" one \r\n", "\ufefftwo\r\r\nlines", marks, "Zoë 🙂", "5", "6", "7\n"])
    assert len(specs) == 5
    for spec in specs.values():
        source = open_source(spec)
        assert list(source) == list(source) == ["one", "two\nlines", marks, "Zoë 🙂", "5", "6", "7"], spec


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path):
    for name in ("b.txt", "a/z.txt", "a/b/c.txt", "a.txt", "c/d.TXT", "c.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    source = open_source(str(tmp_path))
    assert list(source) == list(source) == ["a.txt", "a/b/c.txt", "a/z.txt", "b.txt", "c/d.TXT"]
    assert source.name == tmp_path.name


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right of their own there")
def test_a_folder_that_links_back_to_itself_is_read_once(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "circle").symlink_to(tmp_path)
    (tmp_path / "b.txt").symlink_to(tmp_path / "a.txt")
    assert list(open_source(str(tmp_path))) == ["one", "one"]


def test_a_folder_that_cannot_be_read_does_not_vanish(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refusing(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(PermissionError, match="closed"):
        open_source(str(tmp_path))


def test_a_folder_without_files_of_stories_names_the_endings(tmp_path):
    (tmp_path / "a.md").write_text("one")
    with pytest.raises(DataError, match=r"no file below the folder .* ends in \.txt, \.jsonl, \.parquet"):
        open_source(str(tmp_path))


def test_a_folder_with_a_manifest_of_its_own_is_no_data_folder(tmp_path):
    for name in ("manifest.json", "train.txt", "val.txt"):
        (tmp_path / name).write_text(name)
    assert list(open_source(str(tmp_path))) == ["train.txt", "val.txt"]


def test_the_column_reaches_every_table(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"story": "one", "text": "two"}')
    (tmp_path / "b.txt").write_text("three")
    pq.write_table(pa.table({"text": ["four"], "story": ["five"]}), tmp_path / "c.parquet")
    assert list(open_source(str(tmp_path), column="story")) == ["one", "three", "five"]
    with pytest.raises(DataError, match=r"a\.jsonl, line 1 has no column 'storys'|c\.parquet has no column 'storys'"):
        list(open_source(str(tmp_path), column="storys"))


def test_the_storybooks_stories_are_normalised():
    assert all(story == normalise(story) for story in Storybook(limit_mb=0.1))


def test_a_folder_of_text_files_is_a_source(tmp_path):
    """`train --data FOLDER` said that it was no data folder."""
    (tmp_path / "texts" / "deep").mkdir(parents=True)
    assert not is_source(str(tmp_path / "texts"))
    (tmp_path / "texts" / "deep" / "a.md").write_text("one")
    assert not is_source(str(tmp_path / "texts"))
    for name in ("a.txt", "b.JSONL", "c.parquet", "manifest.json"):
        (tmp_path / "texts" / "deep" / name).write_text("one")
    assert is_source(str(tmp_path / "texts"))
    assert is_source(str(tmp_path / "texts" / "deep" / "a.txt"))
    assert is_source("storybook")
    assert is_source("tinystories")
    assert not is_source("")  # which is the working directory, as a path
    assert not is_source(str(tmp_path / "nothing"))


@pytest.mark.parametrize("lost", [None, "manifest.json", "tokenizer.json", "train-00000.bin", "val-00000.bin"])
def test_a_data_folder_is_no_source_even_if_a_file_is_missing(story_data, tmp_path, lost):
    """Else a damaged one would be trained on, by its `val.txt`."""
    folder = shutil.copytree(story_data.path, tmp_path / "D")
    if lost:
        (folder / lost).unlink()
    assert not is_source(str(folder))


def test_a_run_is_no_source(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.toml").touch()
    (tmp_path / "metrics.jsonl").touch()
    assert not is_source(str(tmp_path))


def test_a_run_below_the_texts_is_passed_over(tmp_path):
    """Trained into the folder of its texts: its rows were read as stories, and the texts could not be read again."""
    (tmp_path / "a.txt").write_text("one")
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "data").mkdir()
    for name in ("config.toml", "tokenizer.json", "samples.jsonl", "data/val.txt"):
        (run / name).write_text("two")
    assert list(open_source(str(tmp_path))) == ["one"]
    assert is_source(str(tmp_path))


def test_what_another_process_is_preparing_is_passed_over(tmp_path):
    """Its validation stories, too, were read as stories, if the data folder was made below the texts."""
    (tmp_path / "a.txt").write_text("one")
    with building_folder(tmp_path / "D") as partial:
        (partial / "val.txt").write_text("two")
        assert list(open_source(str(tmp_path))) == ["one"]
