"""Files and folders that are either wholly there or not there at all, one writer for each, and checksums to prove it.

Knows nothing of what the files mean. A file is replaced by writing a temporary neighbor and renaming it over the old
one. A folder cannot be renamed over a full one, so `replace_folder` goes in steps, and `recover_folder` finishes or
rolls back a replacement that died between any two of them:

    write NEW and sync it      died here: NAME is untouched, NEW is incomplete    -> roll back
    rename NAME to OLD         died here: NEW is complete, NAME is gone           -> finish
    rename NEW  to NAME        died here: NAME is the new one, OLD remains        -> finish
    remove OLD

What is unfinished has a name by `storyloom.temporary`: known to be ours, and never a name that a user gave.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from storyloom.locking import LOCK_MARK, sole_writer, try_lock
from storyloom.temporary import LOCK_ENDING, errors_name, is_temporary, temporaries_of, temporary_path

MANIFEST = "manifest.json"
FAILURES = (Exception, KeyboardInterrupt, SystemExit)  # of a process that lives on for as long as it takes to clean up


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex; reads in pieces, so memory stays flat."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_leftovers(folder: Path) -> None:
    """Remove from a folder what killed writers left in it: unfinished files and folders, and locks.

    For a folder of ours, by its sole writer. What a living process writes in it all the same is left alone.
    """
    alive = set()
    for lock in sorted(folder.glob(f".*{LOCK_ENDING}")):
        if not _remove_if_dead(lock, LOCK_MARK):
            alive.add(lock.name.removesuffix(LOCK_ENDING))
    for path in sorted(folder.iterdir()):
        if is_temporary(path.name) and path.name.rsplit(".", 2)[0] not in alive:
            if path.is_dir():
                _remove(path)
            else:
                _remove_if_dead(path)


def _remove(path: Path) -> None:
    """Remove a leftover, if that can be done: its name is in nobody's way."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file by `content`, wholly or not at all, also when the machine stops in between.

    What a killed process left of an earlier attempt is removed.
    """
    with errors_name(path):
        for leftover in temporaries_of(path, "tmp"):
            _remove_if_dead(leftover)
        is_written = False
        while not is_written:
            new = temporary_path(path, "tmp")
            try:
                is_written = _write_as(new, path, content)
            except FileExistsError:
                continue
            except FAILURES:  # a full disk, a signal: what is half written only takes up room
                new.unlink(missing_ok=True)
                raise
        sync(path.parent)


def _write_as(new: Path, path: Path, content: bytes) -> bool:
    """Write a file under a new name and give it its own; False if another writer took it for a dead one's before.

    It is locked as long as it is open, where files can be locked.
    """
    with new.open("xb") as file:
        try:
            try_lock(file.fileno())
        except BlockingIOError:
            return False
        if not new.exists():
            return False
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        if _can_lock_files():  # held until it has its name: nobody takes it for a dead one's
            os.replace(new, path)
            return True
    os.replace(new, path)  # Windows renames no open file
    return True


def _can_lock_files() -> bool:
    try:
        import fcntl  # noqa: F401  (not on Windows)
    except ImportError:
        return False
    return True


def _remove_if_dead(leftover: Path, content: bytes | None = None) -> bool:
    """Remove a file if no living process has it locked (and it has this content); whether it is gone."""
    if not _can_lock_files():
        return False
    with suppress(OSError), leftover.open("rb") as file:  # BlockingIOError: its writer is alive
        if try_lock(file.fileno()) and content in (None, file.read()):
            leftover.unlink()
            return True
    return False


def write_text(path: Path, content: str) -> None:
    """Replace a UTF-8 text file, wholly or not at all."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, content: object) -> None:
    """Replace a JSON file, wholly or not at all."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def sync(path: Path) -> None:
    """Force a file or folder onto the disk.

    Windows syncs only what is open for writing, and opens no folders; it keeps their order by itself.
    """
    is_folder = path.is_dir()
    try:
        descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    except PermissionError:
        if is_folder:
            return
        raise
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def seal(folder: Path) -> None:
    """Write `manifest.json` with the SHA-256 of every file in `folder`, and sync all of it."""
    files = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    for path in files:
        sync(path)
    write_json(folder / MANIFEST, {"sha256": {path.name: sha256_of(path) for path in files}})


def find_damage(folder: Path, of: Iterable[str] = ()) -> str | None:
    """Say what is wrong with a sealed folder: a file missing, cut short or altered; None when it is sound.

    Args:
        folder: that `seal` was called for.
        of: files that its manifest must vouch for.
    """
    try:
        expected = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["sha256"].items()
        if {*of} - dict(expected).keys():
            raise ValueError
    except FileNotFoundError:
        return f"{MANIFEST} is missing"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} cannot be read"
    for name, checksum in expected:
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if sha256_of(path) != checksum:
            return f"{name} differs from its checksum (cut short or altered)"
    return None


def replace_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Replace `folder` by one that `fill` writes, sealed; whenever the process dies, the old or the new one is kept.

    `fill` gets an empty folder beside the old one. Only one process may call it at a time; readers, who may come while
    it is at work, ask `settled_folder`.
    """
    recover_folder(folder)
    new, old = temporary_path(folder, "new"), temporary_path(folder, "old")
    with errors_name(folder):
        new.mkdir(parents=True)
        try:
            fill(new)
            seal(new)
            sync(new)
        except FAILURES:
            shutil.rmtree(new, ignore_errors=True)
            raise
        if folder.exists():
            os.rename(folder, old)
        os.rename(new, folder)
        sync(folder.parent)
        _remove(old)


def recover_folder(folder: Path) -> None:
    """Finish or roll back a `replace_folder` that was interrupted; does nothing if none was."""
    settled = settled_folder(folder)
    if settled != folder:
        os.rename(settled, folder)
    for leftover in temporaries_of(folder, "new") + temporaries_of(folder, "old"):
        _remove(leftover)


def settled_folder(folder: Path) -> Path:
    """Where the content of a perhaps interrupted `replace_folder` lies now; changes nothing, so any reader may ask."""
    if folder.exists():
        return folder
    for new in temporaries_of(folder, "new"):
        if find_damage(new) is None:
            return new
    return next(iter(temporaries_of(folder, "old")), folder)


@contextmanager
def building_folder(folder: Path) -> Iterator[Path]:
    """Build a folder that must not exist yet (or is empty) under another name; it appears only when the block succeeds.

    This process is its sole writer for the block. The unfinished folder is removed when the block fails, and so are the
    parents made for it; that of a process that was killed is removed by the next one that builds this folder.

    Raises:
        BlockingIOError: another process builds it.
        FileExistsError: it exists already, and is not an empty folder.
    """
    place = Path(os.path.realpath(folder))  # where a link leads
    with errors_name(folder), sole_writer(folder):
        if not is_vacant(place):
            raise FileExistsError(errno.EEXIST, "it exists already", str(folder))
        for leftover in temporaries_of(place, "partial"):
            _remove(leftover)
        partial = temporary_path(place, "partial")
        try:
            partial.mkdir(parents=True)
            yield partial
            for path in (*partial.iterdir(), partial):
                sync(path)
            if place.exists():
                place.rmdir()  # an empty one; Windows renames onto nothing that exists
            os.rename(partial, place)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        sync(place.parent)


def printable(path: str) -> str:
    """With a question mark for what is no text: on Unix a name may be any bytes.

    >>> printable("caf\\udce9")
    'caf?'
    """
    return path.encode("utf-8", "replace").decode("utf-8")


def is_vacant(folder: Path) -> bool:
    """Whether a folder may be written: it does not exist, or is empty. A link that leads nowhere is neither."""
    return not (folder.exists() or folder.is_symlink()) or (folder.is_dir() and not any(folder.iterdir()))
