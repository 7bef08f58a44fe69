"""Rows out and in, also when the process died while it wrote one."""

import json
import math

import pytest

from storyloom.errors import RunError
from storyloom.runs.rows import LOGS, MetricsLog, cut_back, latest_row, read_rows


def written(folder, rows):
    """Write some rows; returns what a checkpoint would keep of them."""
    log = MetricsLog(folder)
    for kind, step, values in rows:
        log.write(kind, step, **values)
    marks = log.marks()
    log.close()
    return marks


ROWS = [
    ("start", 0, {"max_steps": 7}),
    ("train", 1, {"loss": 5.5}),
    ("train", 2, {"loss": 4.5}),
    ("eval", 2, {"is_best": True}),
    ("sample", 2, {"story": 'Zoë 🙂\nsaid: "ok"'}),
    ("train", 3, {"loss": 3.5}),
    ("sample", 3, {"story": "later"}),
]


def test_rows_are_read_back_by_kind(tmp_path):
    written(tmp_path, ROWS)
    as_dicts = [{"kind": kind, "step": step, **values} for kind, step, values in ROWS]
    assert read_rows(tmp_path / "metrics.jsonl") == [row for row in as_dicts if row["kind"] != "sample"]
    assert read_rows(tmp_path / "samples.jsonl") == [row for row in as_dicts if row["kind"] == "sample"]
    assert [row["loss"] for row in read_rows(tmp_path / "metrics.jsonl", "train")] == [5.5, 4.5, 3.5]
    assert read_rows(tmp_path / "nothing.jsonl") == []


def test_the_listener_is_told_every_row_in_order(tmp_path):
    heard = []
    log = MetricsLog(tmp_path, heard.append)
    for kind, step, values in ROWS:
        log.write(kind, step, **values)
    log.close()
    assert heard == [{"kind": kind, "step": step, **values} for kind, step, values in ROWS]


def test_what_is_no_number_is_null(tmp_path):
    """The standard error over a single validation story stood there as NaN, which is no JSON."""
    heard = []
    log = MetricsLog(tmp_path, heard.append)
    log.write("eval", 3, bits_per_byte_stderr=math.nan)
    log.close()
    assert (tmp_path / "metrics.jsonl").read_text() == '{"kind": "eval", "step": 3, "bits_per_byte_stderr": null}\n'
    assert math.isnan(heard[0]["bits_per_byte_stderr"])


def test_rows_are_there_as_they_come(tmp_path):
    """Rows waited in a buffer: a killed run had lost the last of them, and nobody could watch a run."""
    written(tmp_path, ROWS[:2])
    log = MetricsLog(tmp_path)
    log.write("train", 2, loss=4.5)
    assert [row["step"] for row in read_rows(tmp_path / "metrics.jsonl")] == [0, 1, 2]
    log.close()


def test_cut_back_keeps_to_the_byte_what_a_checkpoint_vouches_for(tmp_path):
    marks = written(tmp_path, ROWS[:5])
    kept = {name: (tmp_path / name).read_bytes() for name in LOGS}
    written(tmp_path, ROWS[5:])
    assert all((tmp_path / name).read_bytes() != kept[name] for name in LOGS)
    cut_back(tmp_path, marks, 2)
    assert {name: (tmp_path / name).read_bytes() for name in LOGS} == kept
    assert written(tmp_path, []) == marks
    cut_back(tmp_path, {}, 0)
    assert all((tmp_path / name).read_bytes() == b"" for name in LOGS)


def test_cut_back_of_an_empty_folder_makes_nothing(tmp_path):
    cut_back(tmp_path, {}, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", LOGS)
def test_a_row_torn_at_any_byte_is_dropped(tmp_path, name):
    """A row torn within a character of two bytes was a UnicodeDecodeError, and the run could not be resumed."""
    marks = written(tmp_path, ROWS[:5])
    whole = (tmp_path / name).read_bytes()
    later = b'{"kind": "train", "step": 3, "story": "Zo\xc3\xab"}\n'
    for cut in range(len(later)):
        (tmp_path / name).write_bytes(whole + later[:cut])
        assert read_rows(tmp_path / name) == [json.loads(line) for line in whole.splitlines()]
        cut_back(tmp_path, marks, 2)
        assert (tmp_path / name).read_bytes() == whole


@pytest.mark.parametrize("name", LOGS)
def test_damage_before_the_mark_is_refused_and_nothing_is_cut(tmp_path, name):
    """One damaged byte in the middle, and resuming dropped all rows behind it without a word."""
    marks = written(tmp_path, ROWS)
    later = written(tmp_path, ROWS)
    assert later != marks
    whole = (tmp_path / name).read_bytes()
    for place in range(0, marks[name]["bytes"], 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(RunError, match=rf"{name} is damaged.*the checkpoint of step 3 vouches for"):
            cut_back(tmp_path, marks, 3)
        assert (tmp_path / name).read_bytes() == damaged
    (tmp_path / name).write_bytes(whole[: marks[name]["bytes"] - 1])
    with pytest.raises(RunError, match=rf"{name} is cut short"):
        cut_back(tmp_path, marks, 3)
    (tmp_path / name).unlink()
    with pytest.raises(RunError, match=rf"{name} is missing: put it back, or start a new run"):
        cut_back(tmp_path, marks, 3)


NO_ROWS = [
    b"[1]",
    b"3",
    b'"x"',
    b'{"a": 1}',
    b'{"kind": "train"}',
    b'{"kind": "train", "step": NaN}',
    b"{",
    b"\xff",
    b"",
]


@pytest.mark.parametrize("line", NO_ROWS)
def test_what_is_no_row_is_named_by_its_line(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_bytes(
        b'{"kind": "start", "step": 0}\n' + line + b'\n{"kind": "eval", "step": 1}\n'
    )
    with pytest.raises(RunError, match=r"metrics\.jsonl is damaged in line 2"):
        read_rows(tmp_path / "metrics.jsonl")
    assert latest_row(tmp_path / "metrics.jsonl")["kind"] == "eval"


def test_the_latest_row_with_a_value(tmp_path):
    assert latest_row(tmp_path / "metrics.jsonl") == {}
    written(tmp_path, [("train", 1, {"elapsed": 2.5}), ("eval", 1, {"is_best": True})])
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"kind": "train", "step": 2, "elapsed": 3.5')
    assert latest_row(tmp_path / "metrics.jsonl")["kind"] == "eval"
    assert latest_row(tmp_path / "metrics.jsonl", "elapsed")["elapsed"] == 2.5
    assert latest_row(tmp_path / "metrics.jsonl", "minutes") == {}


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\x1c", "\x0b", "\x0c", "\r", "\n", "\0"])
def test_a_story_may_hold_any_line_end(tmp_path, end):
    """A sample with U+2028 or U+0085, which fresh models do tell, hid all rows behind it and cut them away."""
    written(tmp_path, [("sample", 1, {"story": f"a{end}b"}), ("sample", 2, {"story": "c"})])
    assert [row["story"] for row in read_rows(tmp_path / "samples.jsonl")] == [f"a{end}b", "c"]
