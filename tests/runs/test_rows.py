"""Rows out and in, also when the process died while it wrote one."""

import json

import pytest

from storyloom.errors import CheckpointError, RunError
from storyloom.runs.layout import LOGS
from storyloom.runs.rows import (
    EvalRow,
    FinalRow,
    NoteRow,
    PlanRow,
    RunLog,
    SampleRow,
    StartRow,
    TrainRow,
    as_line,
    cut_back,
    last_row,
    read_marks,
    read_rows,
)

from ..invented import (
    changed_line,
    eval_row,
    final_row,
    note_row,
    plan_row,
    sample_row,
    start_row,
    train_row,
)


def written(folder, rows):
    """Write some rows; returns what a checkpoint would keep of them."""
    log = RunLog(folder)
    for row in rows:
        log(row)
    marks = log.marks()
    log.close()
    return marks


ROWS = [
    start_row(minutes=1.5, max_steps=None),
    plan_row(1, due=("checkpoint", "eval")),
    train_row(1, loss=5.5),
    train_row(2, loss=4.5, grad_norm=None),
    eval_row(2),
    sample_row(2, 'Zoë 🙂\nsaid: "ok"'),
    note_row("something"),
    train_row(3, loss=3.5),
    final_row(3, limit_bits_per_byte=0.5, gap_bits_per_byte=-0.125, gap_bits_per_byte_stderr=None),
    sample_row(3, "later"),
]
BEFORE_3 = ROWS[:6]


def test_all_that_is_written_is_read_back_by_kind(tmp_path):
    written(tmp_path, ROWS)
    metrics = [row for row in ROWS if not isinstance(row, SampleRow)]
    assert read_rows(tmp_path / "metrics.jsonl") == metrics
    assert read_rows(tmp_path / "samples.jsonl") == [row for row in ROWS if isinstance(row, SampleRow)]
    for kind in (StartRow, PlanRow, TrainRow, EvalRow, NoteRow, FinalRow):
        found = read_rows(tmp_path / "metrics.jsonl", kind)
        assert found == [row for row in metrics if type(row) is kind] != []
    assert read_rows(tmp_path / "nothing.jsonl") == []


def test_a_row_is_a_line_of_json_with_its_kind_first(tmp_path):
    """By hand: what lies on the disk can be read by any program."""
    written(tmp_path, [plan_row(7, due=("eval",)), sample_row(8, "Zoë")])
    line = '{"kind": "plan", "step": 7, "updates": 41, "progress": 0.25, "due": ["eval"], "elapsed": 1.75}\n'
    assert (tmp_path / "metrics.jsonl").read_text(encoding="utf-8") == line
    assert (tmp_path / "samples.jsonl").read_bytes() == '{"kind": "sample", "step": 8, "story": "Zoë"}\n'.encode()


def test_what_is_no_number_is_never_written():
    """The standard error over a single validation story stood there as NaN, which is no JSON."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_line(eval_row(bits_per_byte_stderr=float("nan")))


def test_rows_are_there_as_they_come(tmp_path):
    """Rows waited in a buffer: a killed run had lost the last of them, and nobody could watch a run."""
    written(tmp_path, ROWS[:1])
    log = RunLog(tmp_path)
    log(train_row(2))
    assert [row.step for row in read_rows(tmp_path / "metrics.jsonl")] == [0, 2]
    log.close()


def test_cut_back_keeps_to_the_byte_what_a_checkpoint_vouches_for(tmp_path):
    marks = written(tmp_path, BEFORE_3)
    kept = {name: (tmp_path / name).read_bytes() for name in LOGS}
    written(tmp_path, ROWS[6:])
    assert all((tmp_path / name).read_bytes() != kept[name] for name in LOGS)
    assert cut_back(tmp_path, marks, 2) == ROWS[6:]
    assert {name: (tmp_path / name).read_bytes() for name in LOGS} == kept
    assert written(tmp_path, []) == marks
    assert len(cut_back(tmp_path, {}, 0)) == 6
    assert all((tmp_path / name).read_bytes() == b"" for name in LOGS)


def test_cut_back_of_an_empty_folder_makes_nothing(tmp_path):
    assert cut_back(tmp_path, {}, 0) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "row"), [("metrics.jsonl", note_row("Zoë")), ("samples.jsonl", sample_row(3, "Zoë"))])
def test_a_row_torn_at_any_byte_is_dropped(tmp_path, name, row):
    """A row torn within a character of two bytes was a UnicodeDecodeError, and the run could not be resumed."""
    marks = written(tmp_path, BEFORE_3)
    whole, rows = (tmp_path / name).read_bytes(), read_rows(tmp_path / name)
    later = f"{as_line(row)}\n".encode()
    for cut in range(len(later)):
        (tmp_path / name).write_bytes(whole + later[:cut])
        assert read_rows(tmp_path / name) == rows
        assert last_row(tmp_path / name) == rows[-1]
        assert cut_back(tmp_path, marks, 2) == []
        assert (tmp_path / name).read_bytes() == whole
    (tmp_path / name).write_bytes(whole + later)
    assert read_rows(tmp_path / name) == [*rows, row]


@pytest.mark.parametrize("name", LOGS)
def test_damage_before_the_mark_is_refused_and_nothing_is_cut(tmp_path, name):
    """One damaged byte in the middle, and resuming dropped all rows behind it without a word."""
    marks = written(tmp_path, ROWS)
    later = written(tmp_path, ROWS)
    assert later != marks
    whole = (tmp_path / name).read_bytes()
    for place in range(0, marks[name].bytes, 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(RunError, match=rf"{name} is damaged.*the checkpoint of step 3 vouches for"):
            cut_back(tmp_path, marks, 3)
        assert (tmp_path / name).read_bytes() == damaged
    (tmp_path / name).write_bytes(whole[: marks[name].bytes - 1])
    with pytest.raises(RunError, match=rf"{name} is cut short"):
        cut_back(tmp_path, marks, 3)
    (tmp_path / name).unlink()
    with pytest.raises(RunError, match=rf"{name} is missing: put it back, or start a new run"):
        cut_back(tmp_path, marks, 3)
    (tmp_path / name).mkdir()
    with pytest.raises(RunError, match=rf"cannot read .*{name}"):
        cut_back(tmp_path, marks, 3)


def test_a_damaged_line_behind_the_mark_is_named_and_nothing_is_cut(tmp_path):
    """What it told was passed over in silence, such as the time that the run had taken."""
    marks = written(tmp_path, BEFORE_3)
    path = tmp_path / "metrics.jsonl"
    content = path.read_bytes() + b'{"kind": "train", "step": 3, "elapsed": 5e373}\n'
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"metrics\.jsonl is damaged in line 6 .*remove that line and all behind it"):
        cut_back(tmp_path, marks, 2)
    assert path.read_bytes() == content


NO_ROWS = [
    *(b"[1]", b"3", b'"x"', b"null", b"{", b"\xff", b"", b'{"a": 1}', b'{"step": 7}', b'{"kind": 3, "step": 7}'),
    *(b'{"kind": "train"}', b'{"kind": "train", "step": NaN}', b'{"kind": "dream\\n", "step": 7}'),
    *(
        changed_line(train_row(), **changes).encode()
        for changes in (
            *({"step": "x"}, {"step": -1}, {"step": 0.5}, {"step": True}, {"step": None}, {"extra\nfield": 1}),
            *({"loss": "2.5"}, {"loss": None}, {"loss": [2.5]}, {"loss": float("nan")}, {"loss": float("inf")}),
            *({"tokens": 0}, {"tokens": 1.5}, {"epoch": True}, {"kind": "eval"}, {"grad_norm": {}}),
        )
    ),
    *(changed_line(plan_row(), **changes).encode() for changes in ({"due": ["tea"]}, {"due": "eval"}, {"progress": 2})),
    *(changed_line(final_row(), **changes).encode() for changes in ({"checkpoint": "worst"}, {"comparable": 1})),
]


@pytest.mark.parametrize("line", NO_ROWS)
@pytest.mark.parametrize(("name", "row"), [("metrics.jsonl", start_row()), ("samples.jsonl", sample_row(1, "Zoë"))])
def test_what_is_no_row_is_named_by_its_line(tmp_path, name, row, line):
    """An array, a number, a row without its fields or with NaN was a traceback in the report."""
    path, good = tmp_path / name, as_line(row).encode()
    path.write_bytes(b"\n".join([good, line, good, b""]))
    with pytest.raises(RunError, match=rf"{name} is damaged in line 2 \(.+\): put it back, or train again") as error:
        read_rows(path)
    assert len(str(error.value).splitlines()) == 1
    assert last_row(path) == row
    path.write_bytes(good + b"\n" + line + b"\n")
    with pytest.raises(RunError, match="damaged in line 2"):
        last_row(path)


@pytest.mark.parametrize(("name", "row"), [("metrics.jsonl", sample_row(1, "Zoë")), ("samples.jsonl", start_row())])
def test_a_row_of_the_other_file_is_refused(tmp_path, name, row):
    (tmp_path / name).write_text(f"{as_line(row)}\n", encoding="utf-8")
    with pytest.raises(RunError, match=r"damaged in line 1 \(a row of another file\)"):
        read_rows(tmp_path / name)


@pytest.mark.parametrize("row", ROWS, ids=[f"{number}" for number in range(len(ROWS))])
def test_every_field_must_be_there(tmp_path, row):
    path = tmp_path / ("samples.jsonl" if isinstance(row, SampleRow) else "metrics.jsonl")
    fields = json.loads(as_line(row))
    for lost in fields:
        path.write_text(json.dumps({name: value for name, value in fields.items() if name != lost}) + "\n")
        with pytest.raises(RunError, match="is damaged in line 1"):
            read_rows(path)


def test_the_last_row_of_nothing_is_none(tmp_path):
    assert last_row(tmp_path / "metrics.jsonl") is None
    (tmp_path / "metrics.jsonl").write_bytes(b'{"kind": "tra')
    assert last_row(tmp_path / "metrics.jsonl") is None


@pytest.mark.parametrize(
    "logs",
    [
        [],
        3,
        {"metrics.jsonl": 7},
        {"metrics.jsonl": {"bytes": "7", "sha256": "a"}},
        {"other": {}},
        {"samples.jsonl": {}},
    ],
)
def test_marks_of_another_form_are_refused_in_one_line(tmp_path, logs):
    with pytest.raises(CheckpointError, match=r"state\.json is damaged \(logs: .+\)"):
        read_marks({"logs": logs}, tmp_path / "state.json")


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85", "\x1c", "\x0b", "\x0c", "\r", "\n", "\0"])
def test_a_story_may_hold_any_line_end(tmp_path, end):
    """A sample with U+2028 or U+0085, which fresh models do tell, hid all rows behind it and cut them away."""
    written(tmp_path, [sample_row(1, f"a{end}b"), sample_row(2, "c")])
    assert [row.story for row in read_rows(tmp_path / "samples.jsonl", SampleRow)] == [f"a{end}b", "c"]
