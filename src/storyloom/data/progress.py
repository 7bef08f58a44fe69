"""How a long step of the preparation goes, as it goes: for a listener, or on one line of standard error."""

import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

REPORT_SECONDS = 0.2  # between two reports
QUIET_SECONDS = 2.0  # a step is not spoken of before: most are over by then
PLAIN_SECONDS = 10.0  # between two lines where the output is no terminal


@dataclass(frozen=True)
class Progress:
    """How far a step is.

    >>> Progress("encoding the training stories", 5_003, 20_011)
    Progress(step='encoding the training stories', stories=5003, of=20011)
    """

    step: str
    """What is done, in words: `reading the stories`, `learning the tokenizer`, ..."""
    stories: int
    """Stories done so far."""
    of: int | None = None
    """All of them, if that is known."""


Listener = Callable[[Progress], object]


def no_listener(progress: Progress) -> None:
    """Listen to nothing."""


def watched(stories: Iterable[str], listener: Listener, step: str, of: int | None = None) -> Iterator[str]:
    """The same stories; a listener is told of them every `REPORT_SECONDS`, and at the end.

    >>> list(watched(["a", "b"], print, "reading the stories"))
    Progress(step='reading the stories', stories=2, of=None)
    ['a', 'b']
    """
    count, told = 0, time.monotonic()
    for story in stories:
        yield story
        count += 1
        if time.monotonic() - told >= REPORT_SECONDS:
            told = time.monotonic()
            listener(Progress(step, count, of))
    listener(Progress(step, count, of))


class LiveLine:
    """A listener that keeps one line on standard error up to date; a new line every ten seconds if it is no terminal.

    Nothing is said of a step in its first two seconds. Use as a context: the line is erased at its end.
    """

    def __init__(self) -> None:
        self._on_terminal = sys.stderr is not None and sys.stderr.isatty()
        self._interval = REPORT_SECONDS if self._on_terminal else PLAIN_SECONDS
        self._step, self._began, self._shown = "", 0.0, 0.0
        self._width = 0  # of the line that stands there

    def __enter__(self) -> "LiveLine":
        return self

    def __exit__(self, *_: object) -> None:
        if self._width:
            self._write(f"\r{'':{self._width}}\r")
            self._width = 0

    def __call__(self, progress: Progress) -> None:
        """Show a report, or not yet."""
        now = time.monotonic()
        if progress.step != self._step:
            self._step, self._began, self._shown = progress.step, now, -self._interval
        if now - self._began >= QUIET_SECONDS and now - self._shown >= self._interval:
            self._shown = now
            self._show(f"{sentence(progress)}, {now - self._began:.0f} s")

    def _show(self, line: str) -> None:
        if not self._on_terminal:
            return self._write(f"{line}\n")
        line = line[: shutil.get_terminal_size().columns - 1]
        text = f"\r{line:{self._width}}"
        self._width = len(line)
        return self._write(text)

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError, AttributeError):  # standard error is closed, or was never there
            sys.stderr.write(text)
            sys.stderr.flush()


def sentence(progress: Progress) -> str:
    """A report in words.

    >>> sentence(Progress("encoding the training stories", 5_003, 20_011))
    'encoding the training stories: 5,003 of 20,011 (25%)'
    """
    if progress.of is None:
        return f"{progress.step}: {progress.stories:,}"
    return f"{progress.step}: {progress.stories:,} of {progress.of:,} ({progress.stories / max(1, progress.of):.0%})"
