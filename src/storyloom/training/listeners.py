"""Who is told of each row as it comes: the run's log first, then the live line and whatever the caller hands in."""

from collections.abc import Iterable

from storyloom.runs.rows import Listener, NoteRow, Row


class Broadcast:
    """A listener that passes each row on to others.

    Args:
        log: is told first: what others do with a row, or fail to do, finds it on the disk.
        listeners: are told in their order.

    Attributes:
        listeners_error: what a listener raised, if it was an OSError: a disk of its own may be full, not the run's.

    >>> heard = []
    >>> Broadcast(print, [heard.append])(Row(step=7))
    Row(step=7)
    >>> heard
    [Row(step=7)]
    """

    def __init__(self, log: Listener, listeners: Iterable[Listener]) -> None:
        self._log, self._listeners = log, tuple(listeners)
        self.listeners_error: OSError | None = None

    def __call__(self, row: Row) -> None:
        """Pass a row on."""
        self._log(row)
        for listener in self._listeners:
            try:
                listener(row)
            except OSError as error:
                self.listeners_error = error
                raise


def note(listeners: Iterable[Listener], text: str) -> None:
    """Tell listeners something that the run does not keep."""
    for listener in listeners:
        listener(NoteRow(step=0, text=text))
