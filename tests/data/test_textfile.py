"""Stories out of text files, byte by byte, and back into them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storyloom.data.textfile import SEPARATOR, TextFile, join_stories, normalise
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
        (b"<|endoftext|><|endoftext|>\n<|endoftext|>", ["<|endoftext|><|endoftext|>"]),
        (b"a\n\\<|endoftext|>\nb\n<|endoftext|>", ["a\n<|endoftext|>\nb"]),  # one backslash less
        (b"a\n\\\\ <|endoftext|> \r\nb\n<|endoftext|>", ["a\n\\ <|endoftext|> \nb"]),
        (b"a\n \\<|endoftext|>\n\\a <|endoftext|>\n<|endoftext|>", ["a\n \\<|endoftext|>\n\\a <|endoftext|>"]),
        (b"\\ <|endoftext|>\n<|endoftext|>", ["<|endoftext|>"]),
        (b"a<|endof\xef\xbb\xbftext|>\n<|endof\xef\xbb\xbftext|>\n<|endoftext|>", ["a<|endoftext|>\n<|endoftext|>"]),
        ("Zoë 🙂\u2028x\n".encode(), ["Zoë 🙂\u2028x"]),
        (b"one\n\ntwo\nlines\n \t\n\n\nthree", ["one", "two\nlines", "three"]),  # no mark: blank lines separate
        (b"one\r\n\r\ntwo\n\xef\xbb\xbf\nthree", ["one", "two", "three"]),
        (b"one\n\xc2\xa0\ntwo", ["one", "two"]),  # a line of a no-break space is blank
        (b"one\n\ntwo\n<|endoftext|>\n", ["one\n\ntwo"]),  # a mark, however late
        (b"one\n\nhe typed <|endoftext|>, twice\n\nthree", ["one", "he typed <|endoftext|>, twice", "three"]),
        (b"a\x00b\x0cc\rd", ["a\x00b\x0cc\rd"]),
    ],
)
def test_separators_line_ends_and_white_space(tmp_path, content, stories):
    assert stories_in(tmp_path, content) == stories


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"one\n\nstill one<|endoftext|>two\n\nstill two<|endoftext|>", 5),
        (b"one\ntwo <|endoftext|>\n\nthree <|endoftext|>\n", 2),
        (b"\\<|endoftext|>", 1),
    ],
)
def test_separators_at_the_ends_of_lines_alone_are_refused(tmp_path, content, line):
    """Caught: stories joined without line ends were cut at their blank lines instead, and held the separators."""
    with pytest.raises(DataError, match=rf"a\.txt, line {line} has <\|endoftext\|> beside other text.* of its own"):
        stories_in(tmp_path, content)
    assert len(stories_in(tmp_path, content + b"\n<|endoftext|>")) == 1


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


texts = st.text(st.sampled_from("ab \n\r\t\x0b\x85\u2028\ufeff<\\é🙂"), max_size=17)
marks = st.sampled_from([SEPARATOR, f"\n{SEPARATOR}\n", f" {SEPARATOR}", f"{SEPARATOR}\r\n", f"\\{SEPARATOR}", "\n"])
contents = st.lists(st.one_of(texts, marks), max_size=11).map("".join)


@given(contents)
@settings(deadline=None, max_examples=300)
def test_what_is_written_is_read_back(tmp_path_factory, content):
    """val.txt is read again and must give the very stories that were encoded."""
    folder = tmp_path_factory.mktemp("a")
    if SEPARATOR in content:
        content += f"\n{SEPARATOR}"  # without a line of its own it is refused
    stories = stories_in(folder, content.encode())
    assert stories_in(folder, join_stories(stories).encode()) == stories
    assert all(story == normalise(story) != "" for story in stories)


@given(st.lists(contents.map(normalise).filter(bool), max_size=5))
@settings(deadline=None, max_examples=300)
def test_any_stories_stand_a_text_file(tmp_path_factory, stories):
    """From a table a story may come that holds the separator, with backslashes or without."""
    assert stories_in(tmp_path_factory.mktemp("a"), join_stories(stories).encode()) == stories


@given(contents)
def test_normalising_twice_changes_nothing(text):
    assert normalise(normalise(text)) == normalise(text)


def test_joined_stories_by_hand():
    joined = "a\n<|endoftext|>\nb\n\\\\ <|endoftext|>\nc <|endoftext|>\n<|endoftext|>\n"
    assert join_stories(["a", "b\n\\ <|endoftext|>\nc <|endoftext|>"]) == joined


@pytest.mark.parametrize(
    ("content", "byte", "line"),
    [
        (b"a\nb\ncaf\xe9!\n", "0xe9", 3),
        (b"a\n\nb\n\nc\nd\ncaf\xe9!\n\nd", "0xe9", 7),
        (b"a\n<|endoftext|>\nb\n<|endoftext|>\ncaf\xe9!\n<|endoftext|>", "0xe9", 5),
        (b"a\n\xc3", "0xc3", 2),
    ],
)
def test_text_that_is_not_utf8_is_refused_with_its_line(tmp_path, content, byte, line):
    with pytest.raises(DataError, match=rf"a\.txt is not UTF-8: byte {byte} on line {line}; convert it"):
        stories_in(tmp_path, content)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_is_told_from_latin1(tmp_path, encoding):
    """Windows writes it; read as Latin-1 it would become readable rubbish."""
    with pytest.raises(DataError, match=r"on line 1; convert it, .* `iconv -f utf-16 -t utf-8`"):
        stories_in(tmp_path, "\ufeffone\n\nZoë".encode(encoding))
    with pytest.raises(DataError, match="iconv -f latin1 "):
        stories_in(tmp_path, "Zoë".encode("latin1"))
