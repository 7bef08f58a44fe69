"""What a run writes down while it trains: JSON lines that a resumed run cuts back to its checkpoint.

Each row has a `kind` and a `step`: `start`, `train` (every update), `eval`, `final` and `note`, and `sample` in a file
of its own.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from storyloom.files import write_text

Listener = Callable[[dict[str, Any]], None]


class MetricsLog:
    """Appends rows to `metrics.jsonl` and `samples.jsonl`, and passes each on to a listener.

    Args:
        folder: the run's.
        listener: is told every row, for a live display.
    """

    def __init__(self, folder: Path, listener: Listener | None = None) -> None:
        self._paths = {False: folder / "metrics.jsonl", True: folder / "samples.jsonl"}
        self._files = {is_sample: path.open("a", encoding="utf-8") for is_sample, path in self._paths.items()}
        self._listener = listener

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Append one row."""
        row = {"kind": kind, "step": step, **values}
        kept = {name: None if value != value else value for name, value in row.items()}  # JSON has no nan
        self._files[kind == "sample"].write(json.dumps(kept, ensure_ascii=False, allow_nan=False) + "\n")
        if self._listener:
            self._listener(row)

    def sync(self) -> None:
        """Force all rows onto the disk, as a checkpoint that counts on them is about to be saved."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Write out what is left."""
        for file in self._files.values():
            file.close()


def cut_back(folder: Path, step: int) -> None:
    """Drop all rows after `step`, and the last line where a dying process left it unfinished."""
    for name in ("metrics.jsonl", "samples.jsonl"):
        path = folder / name
        if path.exists():
            kept = [row for row in read_rows(path) if row["step"] <= step]
            write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))


def read_rows(path: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The rows of a file, of one kind or all; an unfinished last line is left out, a missing file has none."""
    rows = []
    content = path.read_bytes() if path.exists() else b""
    for line in content.split(b"\n")[:-1]:  # a story in a row may hold what `splitlines` takes for the end of a line
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return [row for row in rows if kind in (None, row["kind"])]
