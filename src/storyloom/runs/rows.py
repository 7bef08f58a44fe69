"""What a run writes down while it trains: typed rows, kept as JSON lines. They are written, read and cut here alone.

Each row has a `kind` and a `step`. `metrics.jsonl` holds all kinds but `sample`, which has `samples.jsonl` to itself. A
checkpoint vouches for the rows before it by the length and the checksum of both files. Knows no torch.
"""

import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, overload

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from storyloom.errors import CheckpointError, RunError
from storyloom.runs.layout import LOGS, METRICS, SAMPLES

Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Amount = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class Row:
    """What all rows have."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    step: Natural
    """Updates made when it was written."""


@dataclass(frozen=True, kw_only=True)
class StartRow(Row):
    """A process begins to train, or continues: what and where."""

    kind: Literal["start"] = "start"
    max_steps: Positive | None
    """Updates in all; None where the time decides."""
    minutes: Amount | None
    """Wall-clock time in all; None where no time is set."""
    parameters: Positive
    flops_per_token: Positive
    """Of a forward and a backward pass."""
    device: str
    precision: str
    why_precision: str
    threads: Positive
    compiled: bool


@dataclass(frozen=True, kw_only=True)
class PlanRow(Row):
    """A run that is limited by time was planned again, or its clock made something due."""

    kind: Literal["plan"] = "plan"
    updates: Natural
    """Still to be made."""
    progress: Share
    due: tuple[Literal["checkpoint", "eval", "sample"], ...]
    elapsed: Amount
    """Seconds of the run so far."""


@dataclass(frozen=True, kw_only=True)
class TrainRow(Row):
    """The updates since the row before: their mean loss and speed, and what is true of the latest."""

    kind: Literal["train"] = "train"
    tokens: Positive
    """Seen in training so far."""
    epoch: Amount
    loss: Amount
    """nats/token, before the updates."""
    bits_per_byte: Amount
    """Of the training text."""
    learning_rate: Amount
    grad_norm: Amount | None
    """Before clipping; None where the scaled gradient of fp16 overflowed, and the update was skipped."""
    tokens_per_second: Amount
    seconds: Amount
    """Of all updates so far."""
    elapsed: Amount
    """Seconds of the run so far, evaluations included."""


@dataclass(frozen=True, kw_only=True)
class ScoredRow(Row):
    """Validation stories were scored; losses as `evaluate` gives them."""

    nats_per_token: Amount
    perplexity: Amount
    bits_per_byte: Amount
    bits_per_byte_stderr: Amount | None
    """Over stories; None for a single one."""
    tokens: Positive
    bytes: Positive
    stories: Positive


@dataclass(frozen=True, kw_only=True)
class EvalRow(ScoredRow):
    """An evaluation on the way, of a few stories."""

    kind: Literal["eval"] = "eval"
    is_best: bool
    """Whether no loss was lower before."""


@dataclass(frozen=True, kw_only=True)
class FinalRow(ScoredRow):
    """The evaluation of all validation stories at the end."""

    kind: Literal["final"] = "final"
    checkpoint: Literal["best", "last"]
    """Whose weights were scored."""
    comparable: bool
    """Whether bits/byte may be compared with those of other tokenizers."""
    why_not_comparable: str | None
    text_sha256: str
    """Of the stories."""
    limit_bits_per_byte: Amount | None
    """The entropy of the storybook's stories; None for other text, as are the two that follow."""
    gap_bits_per_byte: float | None
    gap_bits_per_byte_stderr: Amount | None
    minutes: Amount
    """Wall-clock time of the whole run."""

    def as_evaluated(self) -> dict[str, Any]:
        """The figures as `evaluate` gives them: nan for an unknown standard error, nothing for what does not apply."""
        own = {"step", "kind", "checkpoint", "minutes"}
        figures = {name: value for name, value in vars(self).items() if name not in own and value is not None}
        return {"bits_per_byte_stderr": math.nan} | figures


@dataclass(frozen=True, kw_only=True)
class NoteRow(Row):
    """Something that the user should know."""

    kind: Literal["note"] = "note"
    text: str


@dataclass(frozen=True, kw_only=True)
class SampleRow(Row):
    """A story told by the model as it was."""

    kind: Literal["sample"] = "sample"
    story: str


Kind = TypeVar("Kind", bound=Row)
Listener = Callable[[Row], object]  # is told each row as it comes
Marks = Mapping[str, "Mark"]  # of each log, by its file's name

_FIX = "put it back, or train again"
_ROW: TypeAdapter[Row] = TypeAdapter(
    Annotated[StartRow | PlanRow | TrainRow | EvalRow | FinalRow | NoteRow | SampleRow, Field(discriminator="kind")]
)


@dataclass(frozen=True)
class Mark:
    """How much of a log a checkpoint vouches for."""

    bytes: Annotated[int, Field(ge=0, strict=True)]
    sha256: str


_MARKS = TypeAdapter(dict[Literal["metrics.jsonl", "samples.jsonl"], Mark])


def read_marks(state: Mapping[str, Any], source: Path) -> dict[str, Mark]:
    """The marks in a checkpoint's state, under `logs`; none where no row was written before it.

    Raises:
        CheckpointError: they are not as `RunLog.marks` gave them.
    """
    try:
        return {**_MARKS.validate_python(state.get("logs", {}))}
    except ValidationError as error:
        raise CheckpointError(f"{source} is damaged (logs: {_complaint(error)}): put it back") from None


def as_line(row: Row) -> str:
    """A row as it is kept.

    >>> as_line(SampleRow(step=7, story="Zoë"))
    '{"kind": "sample", "step": 7, "story": "Zoë"}'
    """
    return json.dumps({"kind": None, **vars(row)}, ensure_ascii=False, allow_nan=False)


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
    def mark(self) -> Mark:
        return Mark(self._size, self._checksum.hexdigest())

    def sync(self) -> None:
        """Force all of it onto the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class RunLog:
    """A listener that appends each row to `metrics.jsonl` or `samples.jsonl`.

    Args:
        folder: the run's.
    """

    def __init__(self, folder: Path) -> None:
        self._logs = {name: _Log(folder / name) for name in LOGS}

    def __call__(self, row: Row) -> None:
        """Append a row."""
        self._logs[SAMPLES if isinstance(row, SampleRow) else METRICS].append(as_line(row))

    def marks(self) -> dict[str, Mark]:
        """What a checkpoint keeps of both logs; all rows are forced onto the disk first, as it counts on them."""
        for log in self._logs.values():
            log.sync()
        return {name: log.mark for name, log in self._logs.items()}

    def close(self) -> None:
        """Close both files."""
        for log in self._logs.values():
            log.close()


@overload
def read_rows(path: Path) -> list[Row]: ...
@overload
def read_rows(path: Path, kind: type[Kind]) -> list[Kind]: ...
def read_rows(path: Path, kind: type[Row] = Row) -> Sequence[Row]:
    """Read the rows of a log.

    Args:
        path: a file of the name `metrics.jsonl`, `samples.jsonl` or `plan.jsonl`; a missing one has no rows.
        kind: the class of those that are wanted; all rows are checked.

    Raises:
        RunError: a line is not a row: cut short, of another type, with a field missing or too many. A last line that
            does not end is left out: its writer died, or still writes it.
    """
    return [row for row in _parsed(path, _content(path), _FIX) if isinstance(row, kind)]


def last_row(path: Path) -> Row | None:
    """The last row of a log, as `read_rows` reads it; None if there is none."""
    lines = _content(path).split(b"\n")[:-1]
    if not lines:
        return None
    return _row(path, len(lines), lines[-1], _FIX)


def cut_back(folder: Path, marks: Marks, step: int) -> list[Row]:
    """Cut both logs to what a checkpoint vouches for, once that part is verified; nothing is written again.

    Args:
        folder: the run's.
        marks: what `RunLog.marks` gave; of a log without one nothing is kept.
        step: the checkpoint's, for the message.

    Returns:
        The rows that were cut away. What they tell of is trained again.

    Raises:
        RunError: a log is missing, too short or altered before its mark, or has lines behind it that are not rows;
            nothing is cut then.
    """
    verify_logs(folder, marks, step)
    sizes = {name: marks[name].bytes if name in marks else 0 for name in LOGS}
    lost = [row for name, size in sizes.items() for row in _rows_behind(folder / name, size)]
    for name, size in sizes.items():
        if (folder / name).exists():
            os.truncate(folder / name, size)
    return lost


def verify_logs(folder: Path, marks: Marks, step: int) -> None:
    """Raise `RunError` if a log is not what the checkpoint of a step vouches for."""
    for name, mark in marks.items():
        _verify(folder / name, mark, step)


def _verify(path: Path, mark: Mark, step: int) -> None:
    fix = f"that the checkpoint of step {step} vouches for; put it back, or start a new run"
    if mark.bytes and not path.exists():
        raise RunError(f"{path} is missing: put it back, or start a new run")
    content = _content(path)[: mark.bytes]
    if len(content) < mark.bytes:
        raise RunError(f"{path} is cut short: {len(content):,} bytes of the {mark.bytes:,} {fix}")
    if hashlib.sha256(content).hexdigest() != mark.sha256:
        _parsed(path, content, f"not the {mark.bytes:,} bytes {fix}")  # a line that is not a row is named
        raise RunError(f"{path} is damaged: not the {mark.bytes:,} bytes {fix}")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise RunError(f"cannot read {path} ({error.strerror}): {_FIX}") from None


def _rows_behind(path: Path, size: int) -> list[Row]:
    content, fix = _content(path), "remove that line and all behind it, then continue with `resume`"
    return _parsed(path, content[size:], fix, first=content[:size].count(b"\n") + 1)


def _parsed(path: Path, content: bytes, fix: str, first: int = 1) -> list[Row]:
    # Not `splitlines`: a story may hold what that takes for the end of a line.
    return [_row(path, number, line, fix) for number, line in enumerate(content.split(b"\n")[:-1], first)]


def _row(path: Path, number: int, line: bytes, fix: str) -> Row:
    try:
        row = _ROW.validate_json(line)
    except ValidationError as error:
        what = _complaint(error)
    else:
        if isinstance(row, SampleRow) == (path.name == SAMPLES):
            return row
        what = "a row of another file"
    raise RunError(f"{path} is damaged in line {number} ({what}): {fix}")


def _complaint(error: ValidationError) -> str:
    """The first of pydantic's complaints, in one short line whatever the names in the file are."""
    first = error.errors(include_url=False)[0]
    short = {"union_tag_invalid": "unknown kind", "union_tag_not_found": "no kind", "json_invalid": "not JSON"}
    said = short.get(first["type"], first["msg"][0].lower() + first["msg"][1:])
    return ": ".join([*(repr(part)[1:-1][:40] for part in first["loc"][1:2]), said])
