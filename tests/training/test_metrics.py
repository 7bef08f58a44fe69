"""Rows out and in, also when the process died while it wrote one."""

import json
import math
import os

import pytest

from storyloom.training.metrics import MetricsLog, cut_back, read_rows


def written(folder, rows) -> None:
    log = MetricsLog(folder)
    for kind, step, values in rows:
        log.write(kind, step, **values)
    log.close()


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


def test_rows_are_appended_and_synced_before_a_checkpoint(tmp_path):
    written(tmp_path, ROWS[:2])
    log = MetricsLog(tmp_path)
    log.write("train", 2, loss=4.5)
    log.sync()
    assert [row["step"] for row in read_rows(tmp_path / "metrics.jsonl")] == [0, 1, 2]
    log.close()


def test_cut_back_drops_what_came_after_the_checkpoint(tmp_path):
    written(tmp_path, ROWS)
    cut_back(tmp_path, 2)
    assert [(row["kind"], row["step"]) for row in read_rows(tmp_path / "metrics.jsonl")] == [
        ("start", 0),
        ("train", 1),
        ("train", 2),
        ("eval", 2),
    ]
    assert [row["step"] for row in read_rows(tmp_path / "samples.jsonl")] == [2]
    cut_back(tmp_path, 0)
    assert [row["kind"] for row in read_rows(tmp_path / "metrics.jsonl")] == ["start"]
    assert read_rows(tmp_path / "samples.jsonl") == []


def test_cut_back_of_an_empty_folder_makes_nothing(tmp_path):
    cut_back(tmp_path, 3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["metrics.jsonl", "samples.jsonl"])
def test_a_row_torn_at_any_byte_is_dropped(tmp_path, monkeypatch, name):
    """A row torn within a character of two bytes was a UnicodeDecodeError, and the run could not be resumed."""
    monkeypatch.setattr(os, "fsync", lambda _: None)  # hundreds of times here, and no power cut to fear
    written(tmp_path, ROWS)
    whole = (tmp_path / name).read_bytes()
    lines = whole.split(b"\n")[:-1]
    for cut in range(len(whole)):
        (tmp_path / name).write_bytes(whole[:cut])
        cut_back(tmp_path, 99)
        complete = lines[: whole[:cut].count(b"\n")]
        assert [json.loads(line) for line in (tmp_path / name).read_bytes().splitlines()] == [
            *map(json.loads, complete)
        ]
        assert (tmp_path / name).read_bytes() in (b"", b"\n".join(complete) + b"\n")


def test_a_torn_row_is_never_joined_to_the_next(tmp_path):
    written(tmp_path, ROWS[:3])
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"kind": "train", "st')
    cut_back(tmp_path, 99)
    written(tmp_path, [("train", 3, {"loss": 1.5})])
    assert [row["step"] for row in read_rows(tmp_path / "metrics.jsonl")] == [0, 1, 2, 3]


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\x1c", "\x0b", "\x0c", "\r", "\n", "\0"])
def test_a_story_may_hold_any_line_end(tmp_path, end):
    """A sample with U+2028 or U+0085, which fresh models do tell, hid all rows behind it and cut them away."""
    written(tmp_path, [("sample", 1, {"story": f"a{end}b"}), ("sample", 2, {"story": "c"})])
    cut_back(tmp_path, 99)
    assert [row["story"] for row in read_rows(tmp_path / "samples.jsonl")] == [f"a{end}b", "c"]
