"""Rows of an invented training: whole ones, in which a test changes what it is about. Its figures are all different."""

import json
from pathlib import Path
from typing import Any

from storyloom.runs.layout import METRICS, SAMPLES
from storyloom.runs.rows import EvalRow, FinalRow, NoteRow, PlanRow, Row, SampleRow, StartRow, TrainRow, as_line


def start_row(step: int = 0, **changes: Any) -> StartRow:
    made: dict[str, Any] = {"max_steps": 11, "minutes": None, "parameters": 4567, "flops_per_token": 89_000}
    made |= {"device": "cpu", "precision": "fp32", "why_precision": "as set", "threads": 3, "compiled": False}
    return StartRow(step=step, **{**made, **changes})


def plan_row(step: int = 2, **changes: Any) -> PlanRow:
    made: dict[str, Any] = {"updates": 41, "progress": 0.25, "due": (), "elapsed": 1.75}
    return PlanRow(step=step, **{**made, **changes})


def train_row(step: int = 1, **changes: Any) -> TrainRow:
    made = {"tokens": 113 * step, "epoch": 0.1 * step, "loss": 2.5, "bits_per_byte": 1.25, "learning_rate": 1e-3}
    made |= {"grad_norm": 0.75, "tokens_per_second": 226.0, "seconds": 0.5 * step, "elapsed": 0.625 * step}
    return TrainRow(step=step, **{**made, **changes})


def scored(**changes: Any) -> dict[str, Any]:
    made = {"nats_per_token": 2.25, "perplexity": 9.4877, "bits_per_byte": 1.125, "bits_per_byte_stderr": 0.0125}
    return {**made, "tokens": 1009, "bytes": 3001, "stories": 7, **changes}


def eval_row(step: int = 2, **changes: Any) -> EvalRow:
    return EvalRow(step=step, **scored(**{"is_best": True, **changes}))


def final_row(step: int = 3, **changes: Any) -> FinalRow:
    unknown = ("why_not_comparable", "limit_bits_per_byte", "gap_bits_per_byte", "gap_bits_per_byte_stderr")
    made = {"checkpoint": "best", "comparable": True, "text_sha256": "abc", "minutes": 1.7, **dict.fromkeys(unknown)}
    return FinalRow(step=step, **scored(**{**made, **changes}))


def note_row(text: str, step: int = 3) -> NoteRow:
    return NoteRow(step=step, text=text)


def sample_row(step: int, story: str) -> SampleRow:
    return SampleRow(step=step, story=story)


def write_rows(run: Path, *rows: Row) -> None:
    """Put these in place of all rows of a run; written without the code under test, but for the words of a line."""
    for name in (METRICS, SAMPLES):
        own = [row for row in rows if isinstance(row, SampleRow) == (name == SAMPLES)]
        (run / name).write_text("".join(f"{as_line(row)}\n" for row in own), encoding="utf-8")


def changed_line(row: Row, **changes: Any) -> str:
    """A row's line with other values, which need not be those of a row."""
    return json.dumps(json.loads(as_line(row)) | changes)
