"""Signals that end a process, as an exception in its main thread: what is half written is cleaned up first."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# A polite end (`kill`, `timeout`, a system that shuts down), and a terminal that closes; Windows knows no SIGHUP.
ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into `SystemExit` for the block, so that it cleans up as after Ctrl-C.

    The exit status is 128 + the signal's number, as a shell reports it: 143 for SIGTERM. Further signals of these kinds
    are ignored until the block has ended: a closing terminal sends two, and the second must not end the cleaning.

    A signal that the program handles itself, or ignores (`nohup`), is left alone. Python takes signals in the main
    thread only: elsewhere nothing changes.

    >>> with exit_on_signals():
    ...     signal.getsignal(signal.SIGTERM) is _exit
    True
    >>> signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    True
    """
    taken = []
    try:
        if threading.current_thread() is threading.main_thread():
            for number in ENDING:
                if signal.getsignal(number) is signal.SIG_DFL:
                    taken.append(number)
                    signal.signal(number, _exit)
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _exit(number: int, frame: FrameType | None) -> None:
    for other in ENDING:
        if signal.getsignal(other) is _exit:
            signal.signal(other, signal.SIG_IGN)
    raise SystemExit(128 + number)
