"""The live line: how training goes, on standard error. On a terminal one line that renews itself, else one in ten
seconds; notes, evaluations and samples stand on lines of their own.
"""

import shutil
import sys
import time
from contextlib import suppress

from storyloom.runs.rows import EvalRow, FinalRow, NoteRow, PlanRow, Row, SampleRow, StartRow, TrainRow

REFRESH_SECONDS = 0.2
PLAIN_SECONDS = 10.0


class LiveLine:
    """A listener that shows the rows of a training as they come."""

    def __init__(self) -> None:
        self._on_terminal = sys.stderr.isatty()
        self._interval = REFRESH_SECONDS if self._on_terminal else PLAIN_SECONDS
        self._shown = 0.0
        self._end: int | None = None  # updates in all, as far as is known
        self._is_open = False  # whether the cursor stands at the end of a live line

    def __call__(self, row: Row) -> None:
        """Show a row, or not yet."""
        match row:
            case PlanRow():
                self._end = row.step + row.updates
            case TrainRow():
                if time.monotonic() - self._shown >= self._interval:
                    self._shown = time.monotonic()
                    self._live(_train_sentence(row, self._end))
            case _:
                if isinstance(row, StartRow):
                    self._end = row.max_steps
                self._line(sentence(row))

    def _line(self, text: str) -> None:
        end = "\n" if self._is_open else ""
        self._is_open = False
        _write(f"{end}{text}\n")

    def _live(self, text: str) -> None:
        if not self._on_terminal:
            return _write(f"{text}\n")
        width = shutil.get_terminal_size().columns - 1
        self._is_open = True
        return _write(f"\r{text[:width]:<{width}}")


def sentence(row: Row) -> str:
    """A row in words; an empty line for a kind that the live line shows otherwise."""
    match row:
        case StartRow():
            return _start_sentence(row)
        case EvalRow():
            return _eval_sentence(row)
        case FinalRow():
            return _final_sentence(row)
        case SampleRow():
            story = row.story.replace("\n", "\n    ")
            return f"step {row.step}  a sample:\n    {story}"
        case NoteRow():
            return f"note: {row.text}"
    return ""


def _start_sentence(row: StartRow) -> str:
    to = f"to {row.max_steps}" if row.minutes is None else f"for {row.minutes:g} minutes in all"
    return (
        f"training {row.parameters / 1e6:.2f}M parameters from step {row.step} {to} on {row.device} in {row.precision} "
        f"({row.why_precision}), {row.threads} thread{'s' if row.threads > 1 else ''}{', compiled' * row.compiled}"
    )


def _train_sentence(row: TrainRow, end: int | None) -> str:
    grad_norm = "overflow" if row.grad_norm is None else f"{row.grad_norm:.2f}"
    of = "" if end is None else f"/{end}"
    return (
        f"step {row.step}{of}  loss {row.loss:.3f} nats/token ({row.bits_per_byte:.3f} bits/byte)"
        f"  lr {row.learning_rate:.2e}  grad {grad_norm}  {row.tokens_per_second:,.0f} tokens/s"
        f"  epoch {row.epoch:.2f}"
    )


def _eval_sentence(row: EvalRow) -> str:
    best = "  (best so far)" if row.is_best else ""
    return (
        f"step {row.step}  validation, {row.stories} stories: {row.nats_per_token:.4f} nats/token, "
        f"{row.bits_per_byte:.4f} bits/byte{best}"
    )


def _final_sentence(row: FinalRow) -> str:
    comparable = "" if row.comparable else f" (not comparable: {row.why_not_comparable})"
    stderr = "" if row.bits_per_byte_stderr is None else f" +- {row.bits_per_byte_stderr:.4f}"
    return (
        f"done in {row.minutes:g} minutes: all {row.stories} validation stories, checkpoint best: "
        f"{row.nats_per_token:.4f} nats/token, {row.bits_per_byte:.4f}{stderr} bits/byte{comparable}"
    )


def _write(text: str) -> None:
    with suppress(OSError):  # the terminal is closed: training continues, or is told to stop by a signal
        sys.stderr.write(text)
        sys.stderr.flush()
