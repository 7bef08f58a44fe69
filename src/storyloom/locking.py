"""One writer at a time for a folder that exists or is to be made.

Stands on the locks of the operating system (`flock`, on Windows `msvcrt.locking`), which lets go of them when a process
dies. The library filelock has these too; what it lacks is what this module is about: that the file is gone in the end,
that nobody is kept out by a disk without locks, and that somebody's file of the same name is left alone.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from storyloom.temporary import LOCK_ENDING, errors_name, stem_of

LOCK_MARK = b"A lock of storyloom's. It may be removed when no storyloom is running.\n"
ON_WINDOWS = os.name == "nt"
BEHIND_CONTENT = 2**30  # the byte that is locked on Windows: others may then read what is in the file
ATTEMPTS = 1000  # to lock a file that others remove meanwhile


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Be the only process that writes a folder, for the block; the folder need not exist.

    A file beside the folder, `.NAME.storyloom-lock`, is locked, and is removed behind the block. The system lets go of
    the lock when the process dies: a file left by a killed one keeps nobody out. Parents that are missing are made, and
    removed again if they are empty in the end. If no file can be made there, an existing folder is locked itself.

    Nobody is kept out where the system cannot lock, as on some network disks.

    Raises:
        BlockingIOError: another process holds it, or another block of this one.
        OSError: neither the file nor the folder can be opened; names the folder.
    """
    place = Path(os.path.realpath(folder))
    path = place.with_name(f".{stem_of(place)}{LOCK_ENDING}") if place.name else place
    made = [parent for parent in place.parents if not parent.exists()]
    try:
        with errors_name(folder):
            descriptor, is_ours = _open_lock(path, place)
        try:
            yield
        finally:
            _close_lock(descriptor, path if is_ours else None)
    finally:
        for parent in made:
            with suppress(OSError):  # it is not empty by now
                parent.rmdir()


def _open_lock(path: Path, folder: Path) -> tuple[int, bool]:
    """A descriptor that holds the lock, and whether its file is ours to remove."""
    for _ in range(ATTEMPTS):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except FileNotFoundError:  # there is no parent; or not any more, as another writer has removed its own
            folder.parent.mkdir(parents=True, exist_ok=True)
            continue
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR):
                raise
            return _lock_folder(folder, error), False
        try:
            try_lock(descriptor)
            if ON_WINDOWS or _is_at(path, descriptor):
                return descriptor, _mark(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its last holder removed it before it was locked here: begin again
    raise BlockingIOError(errno.EAGAIN, "its lock goes from one process to another", str(folder))


def _lock_folder(folder: Path, why: OSError) -> int:
    """Lock an existing folder itself, as no file can be made beside it; raises `why` if that is not possible."""
    if not folder.is_dir():
        raise why
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        raise why from None  # Windows opens no folders
    try:
        try_lock(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def try_lock(descriptor: int) -> bool:
    """Lock an open file until it is closed; False where the system cannot. Raises `BlockingIOError` if it is held."""
    try:
        import fcntl
    except ImportError:
        return _lock_on_windows(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def _lock_on_windows(descriptor: int) -> bool:
    try:
        import msvcrt
    except ImportError:
        return False
    before = os.lseek(descriptor, 0, os.SEEK_CUR)
    os.lseek(descriptor, BEHIND_CONTENT, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
    except PermissionError as error:
        raise BlockingIOError(errno.EAGAIN, "another process holds it") from error
    except OSError:
        return False
    finally:
        os.lseek(descriptor, before, os.SEEK_SET)
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    return False


def _mark(descriptor: int) -> bool:
    """Say in a locked file what it is; whether it is ours, which somebody's file that has this name is not."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    content = os.read(descriptor, len(LOCK_MARK) + 1)
    if not content:
        os.write(descriptor, LOCK_MARK)
    return content in (b"", LOCK_MARK)


def _close_lock(descriptor: int, path: Path | None) -> None:
    """Let go of a lock, and remove its file: while it is held, so that nobody's next lock is removed."""
    is_left = False
    if path is not None:
        try:
            os.unlink(path)
        except OSError:  # Windows removes no open file; nor, then, one that another writer has opened since
            is_left = True
    os.close(descriptor)
    if is_left and path is not None and ON_WINDOWS:
        with suppress(OSError):
            os.unlink(path)
