"""What a run writes down while it trains: JSON lines, which each checkpoint vouches for by their length and checksum.

Each row has a `kind` and a `step`: `start`, `plan` (a run that is limited by time plans again), `train` (every update,
or one in `train.log_interval`), `eval`, `final` and `note`, and `sample` in a file of its own.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from storyloom.errors import RunError
from storyloom.runs.layout import LOGS, METRICS, SAMPLES

Listener = Callable[[dict[str, Any]], None]
Marks = Mapping[str, Mapping[str, Any]]  # of each log: how many bytes of it a checkpoint vouches for, and their SHA-256


class _Log:
    """A file that grows by lines, and the length and checksum of what it holds."""

    def __init__(self, path: Path) -> None:
        content = path.read_bytes() if path.exists() else b""
        self._checksum, self._size = hashlib.sha256(content), len(content)
        self._file = path.open("ab")

    def append(self, line: str) -> None:
        """Hand a line to the system at once: when the process dies it is there."""
        content = line.encode() + b"\n"
        self._file.write(content)
        self._file.flush()
        self._checksum.update(content)
        self._size += len(content)

    @property
    def mark(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"bytes": self._size, "sha256": self._checksum.hexdigest()}

    def sync(self) -> None:
        """Force all of it onto the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class MetricsLog:
    """Appends rows to `metrics.jsonl` and `samples.jsonl`, and passes each on to a listener.

    Args:
        folder: the run's.
        listener: is told every row, for a live display.

    Attributes:
        listeners_error: what the listener raised, if it was an OSError: a disk of its own may be full, not the run's.
    """

    def __init__(self, folder: Path, listener: Listener | None = None) -> None:
        self._logs = {name: _Log(folder / name) for name in LOGS}
        self._listener = listener
        self.listeners_error: OSError | None = None

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Append one row."""
        row = {"kind": kind, "step": step, **values}
        kept = {name: None if value != value else value for name, value in row.items()}  # JSON has no nan
        log = self._logs[SAMPLES if kind == "sample" else METRICS]
        log.append(json.dumps(kept, ensure_ascii=False, allow_nan=False))
        if self._listener:
            try:
                self._listener(row)
            except OSError as error:
                self.listeners_error = error
                raise

    def marks(self) -> dict[str, dict[str, Any]]:
        """What a checkpoint keeps of both logs; all rows are forced onto the disk first, as it counts on them."""
        for log in self._logs.values():
            log.sync()
        return {name: log.mark for name, log in self._logs.items()}

    def close(self) -> None:
        """Close both files."""
        for log in self._logs.values():
            log.close()


def cut_back(folder: Path, marks: Marks, step: int) -> None:
    """Cut both logs to what a checkpoint vouches for, once that part is verified; nothing is parsed or written again.

    Args:
        folder: the run's.
        marks: what `MetricsLog.marks` gave; of a log without one nothing is kept.
        step: the checkpoint's, for the message.

    Raises:
        RunError: a log is missing, too short or altered before its mark; nothing is cut then.
    """
    verify_logs(folder, marks, step)
    for name in LOGS:
        if (folder / name).exists():
            os.truncate(folder / name, marks.get(name, {"bytes": 0})["bytes"])


def verify_logs(folder: Path, marks: Marks, step: int) -> None:
    """Raise `RunError` if a log is not what the checkpoint of a step vouches for."""
    for name, mark in marks.items():
        _verify(folder / name, mark, step)


def _verify(path: Path, mark: Mapping[str, Any], step: int) -> None:
    size = mark["bytes"]
    try:
        with path.open("rb") as file:
            content = file.read(size)
    except FileNotFoundError:
        if not size:
            return
        raise RunError(f"{path} is missing: put it back, or start a new run") from None
    if len(content) < size:
        what = f"is cut short: {len(content):,} bytes of the {size:,}"
    elif hashlib.sha256(content).hexdigest() != mark["sha256"]:
        what = f"is damaged{_place(content)}: not the {size:,} bytes"
    else:
        return
    raise RunError(f"{path} {what} that the checkpoint of step {step} vouches for; put it back, or start a new run")


def _place(content: bytes) -> str:
    """Where the damage is, if it can be seen."""
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        if _row(line) is None:
            return f" in line {number}"
    return ""


def _row(line: bytes) -> dict[str, Any] | None:
    """A line as a row; None where it is none."""
    try:
        row = json.loads(line, parse_constant=_refuse)
    except ValueError:
        return None
    is_row = isinstance(row, dict) and isinstance(row.get("kind"), str) and isinstance(row.get("step"), int)
    return row if is_row else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def latest_row(path: Path, name: str = "kind") -> dict[str, Any]:
    """The last row that has a value of this name; empty where none has. What is no row is passed over."""
    content = path.read_bytes() if path.exists() else b""
    found = (_row(line) for line in reversed(content.split(b"\n")[:-1]))
    return next((row for row in found if row is not None and name in row), {})


def read_rows(path: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The rows of a file, of one kind or all; an unfinished last line is left out, a missing file has none.

    Raises:
        RunError: a line is no row.
    """
    rows = []
    content = path.read_bytes() if path.exists() else b""
    # A story in a row may hold what `splitlines` takes for the end of a line.
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        row = _row(line)
        if row is None:
            raise RunError(f"{path} is damaged in line {number}: put it back, or train again")
        if kind in (None, row["kind"]):
            rows.append(row)
    return rows
