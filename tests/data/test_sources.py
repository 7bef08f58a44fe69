"""Stories out of files, byte by byte."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storyloom.data import storybook
from storyloom.data.sources import (
    SEPARATOR,
    STORYBOOK_SEED,
    Storybook,
    TextFile,
    join_stories,
    limited,
    open_source,
    read_stories,
)
from storyloom.errors import DataError


def stories_in(folder, content: bytes) -> list[str]:
    (folder / "a.txt").write_bytes(content)
    return list(TextFile(folder / "a.txt"))


@pytest.mark.parametrize(
    ("content", "stories"),
    [
        (b"one\n<|endoftext|>\ntwo\n<|endoftext|>\n", ["one", "two"]),
        (b"one\n<|endoftext|>\ntwo", ["one", "two"]),
        (b"one\n<|endoftext|>\ntwo\n<|endoftext|>", ["one", "two"]),  # no final newline
        (b"<|endoftext|>\none", ["one"]),
        (b"only one", ["only one"]),
        (b"", []),
        (b"\n \t\n<|endoftext|>\n\n<|endoftext|>\n", []),
        (b"one\n<|endoftext|>\n<|endoftext|>\n  \n<|endoftext|>\ntwo", ["one", "two"]),
        (b"\n  one\n\n  two  \n\n<|endoftext|>", ["one\n\n  two"]),  # white space inside is kept
        (b"a\r\nb\r\n<|endoftext|>\r\nc\r\n", ["a\nb", "c"]),
        (b"\xef\xbb\xbfone\n<|endoftext|>\ntwo", ["one", "two"]),
        (b"\xef\xbb\xbf<|endoftext|>\ntwo", ["two"]),
        (b"one\n  <|endoftext|>  \ntwo", ["one", "two"]),
        (b"say <|endoftext|> aloud\n<|endoftext|>\nx", ["say <|endoftext|> aloud", "x"]),
        (b"<|endoftext|><|endoftext|>", ["<|endoftext|><|endoftext|>"]),
        ("Zoë 🙂\u2028x\n".encode(), ["Zoë 🙂\u2028x"]),
        (b"a\x00b\x0cc\rd", ["a\x00b\x0cc\rd"]),
    ],
)
def test_separators_line_ends_and_white_space(tmp_path, content, stories):
    assert stories_in(tmp_path, content) == stories


def test_a_source_can_be_read_again(tmp_path):
    (tmp_path / "a.txt").write_text("one\n<|endoftext|>\ntwo", encoding="utf-8")
    source = TextFile(tmp_path / "a.txt")
    assert source.name == "a.txt"
    assert list(source) == list(source) == ["one", "two"]
    first, second = iter(source), iter(source)  # side by side, too
    assert [next(first), next(second), next(first)] == ["one", "one", "two"]


def test_byte_order_marks_are_no_part_of_a_story(tmp_path):
    """The mark of a second file, joined onto a first, stood in the ids of a story but not in val.txt read again."""
    assert stories_in(tmp_path, "one\n<|endoftext|>\n\ufefftwo\n".encode()) == ["one", "two"]
    assert stories_in(tmp_path, "one\n\ufeff<|endoftext|>\ntwo".encode()) == ["one", "two"]


texts = st.text(st.sampled_from("ab \n\r\t\x0b\x85\u2028\ufeff<é🙂"), max_size=17)
separators = st.sampled_from([SEPARATOR, f"\n{SEPARATOR}\n", f" {SEPARATOR}", f"{SEPARATOR}\r\n", "\n"])


@given(st.lists(st.one_of(texts, separators), max_size=11))
@settings(deadline=None, max_examples=300)
def test_what_is_written_is_read_back(tmp_path_factory, pieces):
    """val.txt is read again and must give the very stories that were encoded."""
    folder = tmp_path_factory.mktemp("a")
    stories = stories_in(folder, "".join(pieces).encode())
    assert stories_in(folder, join_stories(stories).encode()) == stories
    assert all(story == story.strip() != "" for story in stories)


@pytest.mark.parametrize(
    ("content", "byte", "line"),
    [(b"a\nb\ncaf\xe9!\n", "0xe9", 3), (b"\xff\xfea\x00", "0xff", 1), (b"a\n\xc3", "0xc3", 2)],
)
def test_text_that_is_not_utf8_is_refused_with_its_line(tmp_path, content, byte, line):
    with pytest.raises(DataError, match=rf"a\.txt is not UTF-8: byte {byte} on line {line}; convert it"):
        stories_in(tmp_path, content)


def test_open_source(tmp_path):
    (tmp_path / "a.TXT").write_text("one")
    assert isinstance(open_source("storybook"), Storybook)
    assert list(open_source(str(tmp_path / "a.TXT"))) == ["one"]


def test_what_cannot_be_opened_is_refused_with_the_way_out(tmp_path):
    (tmp_path / "a.text").write_text("one")
    (tmp_path / "bare").write_text("one")
    for spec, part in {
        str(tmp_path / "a.text"): r"its ending is \.text; did you mean '\.txt'",
        str(tmp_path / "bare"): r"its ending is missing; known: \.txt",
        str(tmp_path): r"is a folder: name a file with the ending \.txt",
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
