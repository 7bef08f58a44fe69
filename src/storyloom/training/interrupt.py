"""Ctrl-C without losing work: the signal is noted, and the loop stops between two updates."""

import signal
import threading
from types import FrameType
from typing import Any

# Ctrl-C, SIGTERM, a terminal that closes; Windows knows no SIGHUP.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class StopRequest:
    """Notes these signals while in its `with` block; a second one stops at once.

    One that is ignored, as `nohup` does with SIGHUP, stays so. Python takes signals in the main thread only: elsewhere
    this never asks to stop.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) in (signal.SIG_IGN, None):  # None: a host of Python's has its own
                    continue
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()
