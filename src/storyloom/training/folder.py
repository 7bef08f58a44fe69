"""The run folder while a training begins: one process at a time, and nothing left of a start that fails."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from storyloom.errors import RunError
from storyloom.files import remove_leftovers
from storyloom.locking import sole_writer
from storyloom.runs.layout import BEGUN, CHECKPOINT_FOLDER, OWN_DATA, PLANS, RUN_CONFIG, TOKENIZER

MARK = b"A start of storyloom's: it removes what it laid out here when it begins anew.\n"
LAID_OUT = (
    RUN_CONFIG,  # goes first: with it the rest must be whole
    OWN_DATA,
    TOKENIZER,
    PLANS,
    CHECKPOINT_FOLDER,
    BEGUN,  # goes last: without it nothing here is known to be ours
)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Two processes that train one run would overwrite each other's checkpoints and metrics."""
    with ExitStack() as held:
        try:
            held.enter_context(sole_writer(folder))
        except BlockingIOError:
            raise RunError(f"{folder} is being trained already: wait for that process, or stop it") from None
        yield


@contextmanager
def begun(folder: Path) -> Iterator[None]:
    """Mark a vacant folder while the block makes a run of it; nothing is left of it when the block fails."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / BEGUN).write_bytes(MARK)
    try:
        yield
    except BaseException:
        clear(folder)
        for path in made:
            with suppress(OSError):  # it may hold something else by now
                path.rmdir()
        raise
    (folder / BEGUN).unlink()


def is_begun(folder: Path) -> bool:
    """Whether a start of ours died in a folder; a file of somebody else's may have the name of its mark."""
    path = folder / BEGUN
    return path.is_file() and path.read_bytes() == MARK


def clear(folder: Path) -> None:
    """Remove what a start has laid out, and nothing else; by the sole writer."""
    remove_leftovers(folder)
    for path in (folder / name for name in LAID_OUT):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
