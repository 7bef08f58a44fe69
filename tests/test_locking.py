"""One writer at a time, whether or not the folder is there, whatever becomes of the others."""

import errno
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from storyloom import locking
from storyloom.errors import DataError
from storyloom.files import building_folder, sole_writer
from storyloom.locking import LOCK_MARK

from .folders import fail, tree

needs_locks = pytest.mark.skipif(os.name == "nt", reason="a process's own locks are not seen by itself there")

HOLD = "import sys, pathlib, storyloom.files as f; h = f.sole_writer(pathlib.Path(sys.argv[1])); h.__enter__()"


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is the sole writer of a folder until it is killed."""
    command = [sys.executable, "-c", HOLD + "; print('held', flush=True); sys.stdin.read()", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            yield other
        finally:
            other.kill()


@pytest.mark.parametrize("name", ["there", "not there", "a/b/not there"])
def test_a_folder_has_one_writer_until_its_process_dies(tmp_path, name):
    """A folder that did not exist yet could not be locked: two writers made it at once, and one of them lost all."""
    (tmp_path / "there").mkdir()
    with another_process(tmp_path / name) as other:
        with pytest.raises(BlockingIOError), sole_writer(tmp_path / name):
            pass
        other.kill()
        other.wait()
        with sole_writer(tmp_path / name):
            pass
    assert set(tree(tmp_path)) <= {"there", "a", "a/b"}  # made by the killed one; nothing else is left of it


@needs_locks
def test_one_folder_by_several_names_has_one_writer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "D")
    for name in (Path("D"), tmp_path / "link", tmp_path / "x" / ".." / "D"):
        with sole_writer(tmp_path / "D"), pytest.raises(BlockingIOError), sole_writer(name):
            pass
    with sole_writer(Path(".")), pytest.raises(BlockingIOError), sole_writer(tmp_path):
        pass
    assert set(tree(tmp_path)) == {"link"}


@needs_locks
def test_a_lock_that_is_removed_between_opening_and_locking_is_not_taken(tmp_path, monkeypatch):
    """Else two would hold one: the first the file that is gone, the second a new one."""
    real, others = locking.try_lock, []

    def slow(descriptor: int) -> bool:
        monkeypatch.setattr(locking, "try_lock", real)
        with sole_writer(tmp_path / "D"):  # another one locks the same file, and removes it behind itself
            others.append(None)
        return real(descriptor)

    monkeypatch.setattr(locking, "try_lock", slow)
    with sole_writer(tmp_path / "D"):
        assert others
        with pytest.raises(BlockingIOError), sole_writer(tmp_path / "D"):
            pass


def test_a_users_file_of_that_name_stays(tmp_path):
    path = tmp_path / ".D.storyloom-lock"
    path.write_bytes(b"precious")
    with sole_writer(tmp_path / "D"):
        assert path.read_bytes() == b"precious"
    assert path.read_bytes() == b"precious"


@pytest.mark.parametrize("left", [b"", LOCK_MARK])
def test_a_lock_of_a_dead_process_is_taken_over(tmp_path, left):
    (tmp_path / ".D.storyloom-lock").write_bytes(left)
    with sole_writer(tmp_path / "D"):
        assert (tmp_path / ".D.storyloom-lock").read_bytes() == LOCK_MARK
    assert tree(tmp_path) == {}


@needs_locks
@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_beside_a_folder_that_may_not_be_written_the_folder_itself_is_locked(tmp_path, monkeypatch, number):
    (tmp_path / "D").mkdir()
    real = os.open

    def refusing(path, flags, *rest):
        if str(path).endswith("lock"):
            raise OSError(number, os.strerror(number), str(path))
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", refusing)
    with sole_writer(tmp_path / "D"), pytest.raises(BlockingIOError), sole_writer(tmp_path / "D"):
        pass
    with pytest.raises(OSError, match="E") as caught, sole_writer(tmp_path / "E"):
        pass
    assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / "E"))


@needs_locks
def test_a_disk_without_locks_keeps_nobody_out(tmp_path, monkeypatch):
    import fcntl

    monkeypatch.setattr(fcntl, "flock", fail(OSError(errno.ENOLCK, "No locks available")))
    with sole_writer(tmp_path), sole_writer(tmp_path):
        pass
    assert tree(tmp_path) == {}


@needs_locks
def test_windows_locks_are_taken_where_there_is_no_fcntl(tmp_path, monkeypatch):
    """Its own are not to be had here: a stand-in that knows files by their numbers, and forgets closed ones."""
    held: dict[int, int] = {}

    def lock(descriptor: int, mode: int, count: int) -> None:
        file = os.fstat(descriptor).st_ino
        assert (mode, count, os.lseek(descriptor, 0, os.SEEK_CUR)) == (2, 1, locking.BEHIND_CONTENT)
        if held.get(file, descriptor) != descriptor and os.path.exists(f"/proc/self/fd/{held[file]}"):
            raise PermissionError(errno.EACCES, "Permission denied")
        held[file] = descriptor

    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", types.SimpleNamespace(locking=lock, LK_NBLCK=2))
    monkeypatch.setattr(locking, "ON_WINDOWS", True)
    with sole_writer(tmp_path / "D"):
        assert (tmp_path / ".D.storyloom-lock").read_bytes() == LOCK_MARK
        with pytest.raises(BlockingIOError), sole_writer(tmp_path / "D"):
            pass
    assert tree(tmp_path) == {}
    with sole_writer(tmp_path / "D"):
        pass


def test_only_one_builds_a_folder(tmp_path):
    """The second one once removed what the first was building, and both failed."""
    with building_folder(tmp_path / "D") as partial:
        (partial / "a").write_bytes(b"1")
        with pytest.raises(BlockingIOError), building_folder(tmp_path / "D"):
            pass
    assert tree(tmp_path) == {"D": None, "D/a": b"1"}
    with pytest.raises(FileExistsError), building_folder(tmp_path / "D"):
        pass
    assert tree(tmp_path) == {"D": None, "D/a": b"1"}


def test_the_second_prepare_into_a_folder_is_one_line(tmp_path):
    from storyloom.data import prepare

    with (
        another_process(tmp_path / "D"),
        pytest.raises(DataError, match="D is being made by another process") as caught,
    ):
        prepare("storybook", out=tmp_path / "D", limit_mb=0.02, tokenizer="char")
    assert "\n" not in str(caught.value)
