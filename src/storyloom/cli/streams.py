"""Standard input, output and error as this process was given them: closed, full, or with another code page."""

import errno
import os
import sys
from contextlib import suppress
from typing import TextIO

NO_ROOM = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))  # Windows knows no quota
STANDARD = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_missing_streams() -> None:
    """Give each standard stream that was closed (`>&-` in a shell) to the null device.

    Python leaves such a stream as None. Worse, the system gives its number to the next file that is opened, and what a
    library prints by number would land in a checkpoint.
    """
    for descriptor in range(len(STANDARD)):  # all of them before any other file is opened
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is taken, which is this one, as those below are open by now.
            opened = os.open(os.devnull, os.O_RDWR)
            if opened == descriptor:
                os.set_inheritable(opened, True)  # for child processes, which have the same trouble
    for name, mode in STANDARD:
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  # open until the end


def write_utf8(stream: TextIO, errors: str) -> None:
    """Stories are UTF-8, also on a console with another code page.

    Args:
        stream: standard output or error.
        errors: how to write what no UTF-8 can say, as for `bytes.decode`.
    """
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(encoding="utf-8", errors=errors)  # pyright: ignore[reportAttributeAccessIssue]


def why_unwritable(stream: TextIO) -> str | None:
    """Why what was written to a stream cannot leave it, such as `No space left on device`; None if it can."""
    try:
        stream.flush()
    except OSError as error:
        return error.strerror or str(error)
    return None


def why_lost(stream: TextIO, error: OSError) -> str | None:
    """Why a command's output is lost, if that is what its error means; None if the error came from elsewhere.

    A stream that is not buffered (`PYTHONUNBUFFERED`) fails as it is written and keeps nothing that a flush would try
    again; its error names no file, as those of files do.
    """
    is_lost = getattr(stream, "write_through", False) and error.filename is None and error.errno in NO_ROOM
    return why_unwritable(stream) or (error.strerror if is_lost else None)


def silence(stream: TextIO) -> None:
    """Send what a stream still holds, and all that follows, to the null device.

    Python flushes the standard streams once more as it ends, and would change the exit status to 120 if that fails.
    """
    with suppress(OSError, ValueError):  # no descriptor of its own, as in a notebook
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
