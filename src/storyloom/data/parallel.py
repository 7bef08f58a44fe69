"""An ordered map over worker processes: the same results in the same order, however many there are."""

import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, cycle, islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from queue import SimpleQueue
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
        DataError: a worker process died, or this one may start none. An exception of the function arrives as it is.

    >>> list(ordered_map(len, ["a", "bcd", ""], workers=1))
    [1, 3, 0]
    """
    if workers == 1:
        yield from map(function, items)
        return
    items = iter(items)
    first = list(islice(items, workers))
    processes: list[_Worker] = []
    in_flight = deque()
    try:
        processes.extend(_Worker(function) for _ in first)
        for item, worker in zip(chain(first, items), cycle(processes)):
            worker.send(item)
            in_flight.append(worker)
            if len(in_flight) >= IN_FLIGHT * workers:
                yield in_flight.popleft().receive()
        while in_flight:
            yield in_flight.popleft().receive()
    except _WorkerDied:
        raise DataError(
            f"one of {workers} worker processes died, perhaps for lack of memory: take fewer workers; a script that "
            'is run needs an `if __name__ == "__main__":` around the call'
        ) from None
    finally:
        for worker in processes:
            worker.end()


_STARTING = threading.Lock()  # the environment is the whole process's


class _WorkerDied(Exception):
    """The other end of a worker's pipe is closed."""


class _Worker:
    """A process with a pipe of its own, so that its end is seen at once.

    The processes of `concurrent.futures` share one pipe for their results, which the parent keeps open at both ends:
    where one was killed while it wrote, the parent waited for ever for the rest.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        if multiprocessing.current_process().daemon:
            raise DataError("this process is a daemon, and may start no workers: take one worker")
        context = multiprocessing.get_context("spawn")
        with _STARTING, _sheltered_from_the_terminal(), _named_as_parent():
            self._pipe, theirs = context.Pipe()
            self._process = context.Process(target=_serve, args=(theirs, function), daemon=True)
            self._process.start()
            theirs.close()

    def send(self, item: Any) -> None:
        """Hand over an item; the results come in the order of the items."""
        try:
            self._pipe.send(item)
        except OSError:
            raise _WorkerDied from None

    def receive(self) -> Any:
        """The next result, or the exception of the function."""
        try:
            result, error = self._pipe.recv()
        except (EOFError, OSError):
            raise _WorkerDied from None
        if error is not None:
            raise error
        return result

    def end(self) -> None:
        """End the process, whatever it is at."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


@contextmanager
def _sheltered_from_the_terminal() -> Iterator[None]:
    """Processes started meanwhile never see Ctrl-C, nor that the terminal closes: their parent does, and ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # a process of Python's own, whose start lets Ctrl-C through again
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


def _serve(pipe: Connection, function: Callable[[Any], Any]) -> None:
    """Work in a process of its own until the parent ends it."""
    os.environ.pop(PARENT, None)  # it has started
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes share the cores already
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for where they could not be sheltered from it
    items = SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, items), daemon=True).start()
    while True:
        item = items.get()
        try:
            answer = function(item), None
        except Exception as error:
            error.add_note(f"in a worker process:\n{traceback.format_exc()}")
            answer = None, error
        try:
            pipe.send(answer)
        except Exception as error:  # it cannot be pickled
            pipe.send((None, error))


def _receive(pipe: Connection, items: SimpleQueue) -> None:
    """Take items while another is at work: the parent never waits to hand one over while we wait to hand back ours."""
    try:
        while True:
            items.put(pipe.recv())
    finally:  # the parent was killed, or the item cannot be read: this process would wait for ever
        os._exit(1)
