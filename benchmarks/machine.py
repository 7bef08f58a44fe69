"""What the machine says of itself, and processes of their own for what is measured on it."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import ParamSpec, TypeVar

from storyloom.errors import RunError

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def read_proc(file: str, field: str) -> int | None:
    """A field of this process's `/proc` file in bytes; None where it is missing."""
    try:
        lines = Path("/proc/self", file).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    kilobytes = (int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
    return next((count * 1024 for count in kilobytes), None)


def begin_in_own_process(
    function: Callable[Arguments, Result], *arguments: Arguments.args, **options: Arguments.kwargs
) -> Future[Result]:
    """Call a function in a new process, so that no measurement finds the memory or the compiler used by another."""
    process = ProcessPoolExecutor(1, get_context("spawn"), initializer=die_with_parent)
    result = process.submit(function, *arguments, **options)
    process.shutdown(wait=False)  # it ends after this one
    return result


def result_of(begun: Future[Result], what: str) -> Result:
    """What the function returned; raises `RunError` where its process was killed."""
    try:
        return begun.result()
    except BrokenProcessPool:
        raise RunError(f"{what} was killed before it ended, most likely for want of memory: free some") from None


@contextmanager
def no_survivors() -> Iterator[None]:
    """Kill all child processes when the block fails: after a mistake, or Ctrl-C, nobody waits for them."""
    try:
        yield
    except BaseException:
        for child in active_children():
            child.kill()
        raise


def die_with_parent() -> None:
    """End this process as soon as its parent is killed, and not by Ctrl-C, which is the parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait() -> None:
        if parent := parent_process():
            parent.join()
            os._exit(1)

    Thread(target=wait, daemon=True).start()
