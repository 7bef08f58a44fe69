"""Whatever a source is: the same stories, in the same form, and a way out where it cannot be read."""

from pathlib import Path

import pytest

from storyloom.data import storybook
from storyloom.data.sources import (
    STORYBOOK_SEED,
    Storybook,
    limited,
    open_source,
    read_stories,
)
from storyloom.errors import DataError


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
    """`evaluate --text storybook` once read the endless grammar until the memory was full."""
    with pytest.raises(DataError, match="no such file: storybook"):
        read_stories(Path("storybook"))
