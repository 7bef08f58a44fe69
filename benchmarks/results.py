"""Lines of results: a finished run is one line of JSON, so that a script may be stopped at any time and go on."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from storyloom.errors import DataError
from storyloom.files import write_text
from storyloom.runs.layout import METRICS
from storyloom.runs.rows import FinalRow, StartRow, TrainRow, read_rows

Row = dict[str, Any]  # a line


def read_results(path: Path) -> list[Row]:
    """All lines. Raises `DataError` where one is no JSON: they are written whole, so that somebody has changed it."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except ValueError:
            raise DataError(f"line {number} of {path} is no JSON: fix it, or remove it to run that again") from None
    return rows


def write_results(path: Path, rows: Sequence[Row]) -> None:
    """Put these lines in place of all, in one step."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def refuse_mixture(rows: Sequence[Row], origin: Row) -> None:
    """Raise `DataError` where a line is of something else than `origin`, by any of its checksums.

    Such lines must not stand in one table: those of another text, say.
    """
    checksums = {name: value for name, value in origin.items() if name.endswith("_sha256")}
    for row in rows:
        for name, ours in checksums.items():
            if row[name] != ours:
                what = name.removesuffix("_sha256")
                raise DataError(
                    f"the results so far are of another {what} ({row[name]}) than this one ({ours}): go back to that "
                    "one, or move the file of results away and begin anew"
                )


def outcome(row: Row) -> str:
    """How a finished run ended."""
    return row.get("failed") or f"{row['bits_per_byte']:.4f} bits/byte after {row['tokens']:,} tokens"


def figures_of(run: Path) -> Row:
    """What a finished run has left in its `metrics.jsonl`."""
    (start,), (final,) = read_rows(run / METRICS, StartRow), read_rows(run / METRICS, FinalRow)
    last = read_rows(run / METRICS, TrainRow)[-1]
    return {
        **{name: getattr(start, name) for name in ("parameters", "threads", "precision", "compiled")},
        "updates": last.step,
        "tokens": last.tokens,
        "epochs": last.epoch,
        "tokens_per_second": round(last.tokens / last.seconds),  # updates alone
        **{
            name: round(getattr(final, name), 5) for name in ("nats_per_token", "bits_per_byte", "bits_per_byte_stderr")
        },
        "held_out_stories": final.stories,
        "held_out_bytes": final.bytes,
    }
