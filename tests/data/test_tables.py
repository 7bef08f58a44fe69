"""Stories in columns: what is read, and where each thing that is no story stands."""

import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storyloom.data import tables
from storyloom.data.tables import JsonLines, Parquet
from storyloom.errors import DataError


def json_lines(folder, content: bytes, column: str = "text") -> list[str]:
    (folder / "a.jsonl").write_bytes(content)
    return list(JsonLines(folder / "a.jsonl", column))


@pytest.mark.parametrize(
    ("content", "stories"),
    [
        (b'{"text": "one"}\n{"text": "two", "n": 3}', ["one", "two"]),
        (b"", []),
        (b'\xef\xbb\xbf{"text": "one"}\r\n\r\n  \n{"text": "two"}\r\n', ["one", "two"]),
        (b'{"text": null}\n{"text": " \\n"}\n{"text": "one"}', ["one"]),
        (b'{"text": " a\\r\\nb\\ufeff "}', ["a\nb"]),
        (b'{"text": "a\\n<|endoftext|>\\nb"}', ["a\n<|endoftext|>\nb"]),
        (b'{"text": "a\\n\\nb"}', ["a\n\nb"]),
        ('{"text": "Zoë \\ud83d\\ude42"}'.encode(), ["Zoë 🙂"]),  # a whole pair
    ],
)
def test_json_lines(tmp_path, content, stories):
    assert json_lines(tmp_path, content) == stories


@pytest.mark.parametrize(
    ("line", "part"),
    [
        (b'{"text": "a"', r"is no JSON \(.*\): a \.jsonl file holds one whole object a line"),
        (b"[" * 100_000, "is no JSON"),
        (b"1" * 5_000, "is no JSON"),
        (b"7", "holds 7: a .jsonl file holds one JSON object a line"),
        (b'["' + b"a" * 99 + b'"]', r'holds \["a+\.\.\.: a .jsonl file'),
        (
            b'{"texts": "a", "id": 3}',
            r"has no column 'text': prepare with another `column`; did you mean 'texts'\? Known: id, t",
        ),
        (b'{"text": 7}', "'text' holds 7, which is no text"),
        (b'{"text": ["a"]}', r"'text' holds \[\"a\"\], which is no text"),
        (b'{"text": "a\\ud83d"}', r"'text' holds '\\ud83d', half of a surrogate pair"),
        (b'{"text": "caf\xe9"}', "is not UTF-8: byte 0xe9"),
    ],
)
def test_a_line_that_holds_no_story_is_named(tmp_path, line, part):
    with pytest.raises(DataError, match=rf"a\.jsonl, line 4.*{part}") as caught:
        json_lines(tmp_path, b'{"text": "a"}\n\n{"text": null}\n' + line + b'\n{"text": "b"}\n')
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_another_column(tmp_path):
    content = json.dumps({"text": "a", "story": "b"}).encode()
    assert json_lines(tmp_path, content, "story") == ["b"]
    pq.write_table(pa.table({"text": ["a"], "story": ["b"]}), tmp_path / "a.parquet")
    assert list(Parquet(tmp_path / "a.parquet", "story")) == ["b"]


KINDS = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_parquet(tmp_path, monkeypatch, kind):
    """Over row groups and batches alike, with nulls and stories that hold anything."""
    texts = [f"story {n}" if n % 7 else None for n in range(53)] + ["a\r\n<|endoftext|>\n\n🙂 ", "  ", "\ufeff"]
    table = pa.table({"n": list(range(56)), "text": pa.array(texts, pa.string()).cast(kind)})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=23)
    expected = [f"story {n}" for n in range(53) if n % 7] + ["a\n<|endoftext|>\n\n🙂"]
    for rows in (3, 11, 101):
        monkeypatch.setattr(tables, "ROWS_AT_ONCE", rows)
        source = Parquet(tmp_path / "a.parquet", "text")
        assert list(source) == list(source) == expected


def test_a_parquet_file_without_rows(tmp_path):
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": pa.nulls(3)}), tmp_path / "b.parquet")
    assert [*Parquet(tmp_path / "a.parquet", "text"), *Parquet(tmp_path / "b.parquet", "text")] == []


def test_what_is_no_parquet_file_of_stories_is_refused_at_once(tmp_path):
    path = tmp_path / "a.parquet"
    for content in (b"", b"PAR1", b"no parquet file at all", b"PAR1" * 101):
        path.write_bytes(content)
        with pytest.raises(
            DataError, match=r"cannot read .*a\.parquet as a Parquet file: .*download or write it again"
        ):
            Parquet(path, "text")
    pq.write_table(pa.table({"n": [3, 5], "texts": ["a", "b"]}), path)
    with pytest.raises(DataError, match=r"a\.parquet has no column 'text': .*did you mean 'texts'\? Known: n, texts"):
        Parquet(path, "text")
    with pytest.raises(DataError, match=r"a\.parquet: column 'n' holds int64, no text"):
        Parquet(path, "n")
    with pytest.raises(FileNotFoundError):
        Parquet(tmp_path / "none.parquet", "text")


def test_a_damaged_page_is_one_line(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [f"story {n * n}" for n in range(1009)]}), path, compression="zstd")
    content = bytearray(path.read_bytes())
    for offset in range(50, len(content) // 2):
        content[offset] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot read .*a\.parquet as a Parquet file") as caught:
        list(Parquet(path, "text"))
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    bad = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\1\0\0\0\3\0\0\0"), pa.py_buffer(b"a\xff\xfe"))
    pq.write_table(pa.table({"text": bad}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"cannot read .*a\.parquet"):
        list(Parquet(tmp_path / "a.parquet", "text"))


def test_without_the_extra_the_way_to_it_is_named(tmp_path, monkeypatch):
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pyarrow is needed to read .*a\.parquet: .*pip install '\.\[hub\]'"):
        Parquet(tmp_path / "a.parquet", "text")
