"""An ordered map over worker processes: the same results in the same order, however many there are."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from storyloom.errors import DataError

STORIES_AT_ONCE = 1000  # large enough to keep every core busy, small enough to stay in cache
CHARACTERS_AT_ONCE = 1_000_000  # fewer stories where they are long
PARENT = "STORYLOOM_WORKER_OF"  # in the environment of a worker that is starting: its parent's process id
IN_FLIGHT = 2  # batches for each worker: one at work, one waiting

A = TypeVar("A")
B = TypeVar("B")


def in_batches(stories: Iterable[str]) -> Iterator[list[str]]:
    """Stories in lists of up to `STORIES_AT_ONCE`; a list ends with the story that fills `CHARACTERS_AT_ONCE`."""
    batch, size = [], 0
    for story in stories:
        batch.append(story)
        size += len(story)
        if len(batch) == STORIES_AT_ONCE or size >= CHARACTERS_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def ordered_map(function: Callable[[A], B], items: Iterable[A], workers: int) -> Generator[B, None, None]:
    """What a function makes of each item, in order, with a bounded number of items in memory.

    Args:
        function: what it needs for long is sent to each process once, with the function itself.
        items: read as they are needed.
        workers: processes; 1 works in this one. More are spawned, hence function, items and results must be picklable,
            and a script must guard its main part by `if __name__ == "__main__":`.

    Raises:
        DataError: a worker process died. An exception of the function arrives as it is.

    >>> list(ordered_map(len, ["a", "bcd", ""], workers=1))
    [1, 3, 0]
    """
    if workers == 1:
        yield from map(function, items)
        return
    with _sheltered_from_the_terminal():  # starts a process of Python's own
        pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin, (function,))
    in_flight = deque()
    try:
        for item in items:
            with (
                _sheltered_from_the_terminal(),
                _named_as_parent(),
            ):  # submitting starts a process where all are at work
                in_flight.append(pool.submit(_work, item))
            if len(in_flight) >= IN_FLIGHT * workers:
                yield in_flight.popleft().result()
        while in_flight:
            yield in_flight.popleft().result()
    except BrokenProcessPool:
        raise DataError(
            f"one of {workers} worker processes died, perhaps for lack of memory: take fewer workers; a script that "
            'is run needs an `if __name__ == "__main__":` around the call'
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _sheltered_from_the_terminal() -> Iterator[None]:
    """Processes started meanwhile never see Ctrl-C, nor that the terminal closes: their parent does, and ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _named_as_parent() -> Iterator[None]:
    """Processes started meanwhile know whose workers they are, before any code of ours runs in them."""
    os.environ[PARENT] = str(os.getpid())
    try:
        yield
    finally:
        del os.environ[PARENT]


def end_unguarded_worker() -> None:
    """End a worker process that is just starting, and runs the user's script once more since that has no main guard.

    It would only print that it cannot start processes itself; its parent says so, in one line, when it is gone.
    """
    if os.environ.get(PARENT) == str(os.getppid()):
        os._exit(1)


_function: Callable[[Any], Any]  # of a worker process


def _begin(function: Callable[[Any], Any]) -> None:
    """Set up a worker process."""
    global _function
    _function = function
    os.environ.pop(PARENT, None)  # it has started
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes share the cores already
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for where they could not be sheltered from it
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed tells nobody, and its workers would wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os._exit(1)


def _work(item: Any) -> Any:
    return _function(item)
