"""Files and folders that are either wholly there or not there at all, and the checksums that prove it.

Knows nothing of what the files mean. A file is replaced by writing a neighbour and renaming it over the old one. A
folder cannot be renamed over a full one, so `replace_folder` goes in steps, and `recover_folder` finishes or rolls back
a replacement that died between any two of them:

    write NAME.new/ and sync it        died here: NAME is untouched, NAME.new is incomplete  -> roll back
    rename NAME     to NAME.old        died here: NAME.new is complete, NAME is gone         -> finish
    rename NAME.new to NAME            died here: NAME is the new one, NAME.old remains      -> finish
    remove NAME.old
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MANIFEST = "manifest.json"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex; reads in pieces, so memory stays flat."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(path: Path, content: bytes) -> None:
    """Replace a file by `content`, wholly or not at all, also when the machine stops in between."""
    new = path.with_name(path.name + ".new")
    try:
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError:  # a full disk, say: what is half written only takes up room
        new.unlink(missing_ok=True)
        raise
    os.replace(new, path)
    sync(path.parent)


def write_text(path: Path, content: str) -> None:
    """Replace a UTF-8 text file, wholly or not at all."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, content: object) -> None:
    """Replace a JSON file, wholly or not at all."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def sync(path: Path) -> None:
    """Force a file or folder onto the disk. Windows cannot open folders, and keeps their order by itself."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
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


def find_damage(folder: Path) -> str | None:
    """Say what is wrong with a sealed folder: a file missing, cut short or altered; None when it is sound."""
    try:
        expected = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["sha256"].items()
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

    `fill` gets an empty folder beside the old one. The one writer calls `recover_folder` before it starts; readers,
    who may come while a writer is at work, ask `settled_folder`.
    """
    new, old = _siblings(folder)
    recover_folder(folder)
    new.mkdir(parents=True)
    try:
        fill(new)
        seal(new)
        sync(new)
    except OSError:  # a full disk, say: what is half written only takes up room
        shutil.rmtree(new, ignore_errors=True)
        raise
    if folder.exists():
        os.rename(folder, old)
    os.rename(new, folder)
    sync(folder.parent)
    if old.exists():
        shutil.rmtree(old)


def recover_folder(folder: Path) -> None:
    """Finish or roll back a `replace_folder` that was interrupted; does nothing where none was."""
    new, old = _siblings(folder)
    if not folder.exists() and new.exists() and find_damage(new) is None:
        os.rename(new, folder)
    if not folder.exists() and old.exists():
        os.rename(old, folder)
    for leftover in (new, old):
        if leftover.exists():
            shutil.rmtree(leftover)


def settled_folder(folder: Path) -> Path:
    """Where the content of a perhaps interrupted `replace_folder` lies now; changes nothing, so any reader may ask."""
    new, old = _siblings(folder)
    if folder.exists():
        return folder
    if new.exists() and find_damage(new) is None:
        return new
    return old if old.exists() else folder


def _siblings(folder: Path) -> tuple[Path, Path]:
    return folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")


@contextmanager
def building_folder(folder: Path) -> Iterator[Path]:
    """Build a folder that must not exist yet (or is empty) under another name; it appears only when the block succeeds.

    The unfinished folder `NAME.partial` is removed when the block fails, and so are the parents made for it.
    """
    partial = folder.with_name(folder.name + ".partial")
    made = [parent for parent in folder.parents if not parent.exists()]
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        for path in (*partial.iterdir(), partial):
            sync(path)
        if folder.exists():
            folder.rmdir()  # an empty one; Windows renames onto nothing that exists
        os.rename(partial, folder)
    except BaseException as error:
        if isinstance(error, OSError) and error.errno and error.filename is None:  # a full disk does not say where
            error.filename = str(folder)
        shutil.rmtree(partial, ignore_errors=True)
        for parent in made:
            with suppress(OSError):  # someone else may have put something there meanwhile
                parent.rmdir()
        raise
    sync(folder.parent)


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold a folder for the block; the system lets go of it when the process dies.

    Nobody is kept out where folders cannot be locked: on Windows, on some network disks.

    Raises:
        BlockingIOError: another process holds it, or another block of this one.
    """
    try:
        import fcntl  # not on Windows
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if isinstance(error, BlockingIOError):
                raise
        yield
    finally:
        os.close(descriptor)


def printable(path: str) -> str:
    """With a question mark for what is no text: on Unix a name may be any bytes.

    >>> printable("caf\\udce9")
    'caf?'
    """
    return path.encode("utf-8", "replace").decode("utf-8")


def is_vacant(folder: Path) -> bool:
    """Whether a folder may be written: it does not exist, or is an empty folder."""
    return not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
