"""A long call of a library that does not answer Ctrl-C, in a thread of its own."""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

TICK = 0.2  # seconds
ABANDONED = "abandoned by storyloom"  # the name of a thread that a process must not wait for, nor let end in Python
GRACE = 0.5  # seconds for the thread to see that nobody waits for it any more


class _Abandoned(Exception):
    """Nobody waits for the result: ends the thread where it next asks for an item."""


def interruptible(call: Callable[[Iterator[T]], Any], items: Iterable[T], tick: Callable[[], object]) -> Any:
    """What a call makes of some items, while this thread stays awake for signals.

    Args:
        call: works in another thread, which is left behind if this one is interrupted: it gets no more items then, and
            does not keep the process from ending.
        items: taken by the other thread.
        tick: called every `TICK` seconds meanwhile.

    An exception of the call or of the items arrives as it is.

    >>> interruptible(sum, [3, 5], tick=lambda: None)
    8
    """
    outcome: list[Any] = []
    is_abandoned = False

    def offered() -> Iterator[T]:
        for item in items:
            if is_abandoned:
                raise _Abandoned
            yield item

    def work() -> None:
        try:
            outcome.extend((True, call(offered())))
        except BaseException as error:  # handed on below; nobody is there for `_Abandoned`
            outcome.extend((False, error))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(TICK)
            tick()
    except BaseException:
        is_abandoned = True
        thread.name = ABANDONED
        thread.join(GRACE)
        raise
    succeeded, result = outcome
    if not succeeded:
        raise result
    return result
