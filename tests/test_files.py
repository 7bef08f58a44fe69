"""Files and folders under every death that a process can die while it replaces them."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from storyloom import files
from storyloom.files import (
    MANIFEST,
    find_damage,
    is_vacant,
    recover_folder,
    replace_folder,
    seal,
    settled_folder,
    sha256_of,
    write_bytes,
    write_json,
    write_text,
)
from storyloom.temporary import is_temporary, temporary_path

from .folders import fail, tree

OLD = {"weights": b"old weights, eleven", "state": b"old"}
NEW = {"weights": b"new weights, thirteen", "state": b"new!!"}


class Death(BaseException):
    """The process ends here: nothing after it runs, not even a handler of `Exception`."""


class Life:
    """Counts file-system operations and dies before number `last`; a write has two operations, so it can be torn."""

    def __init__(self, last: int) -> None:
        self.last, self.count = last, 0

    def tick(self) -> None:
        self.count += 1
        if self.count >= self.last:
            raise Death


class TornFile:
    """A file that writes in two halves, with a chance to die before each."""

    def __init__(self, file, life: Life) -> None:
        self._file, self._life = file, life

    def write(self, content) -> int:
        content = bytes(content)
        self._life.tick()
        self._file.write(content[: len(content) // 2])
        self._file.flush()
        self._life.tick()
        self._file.write(content[len(content) // 2 :])
        return len(content)

    def __getattr__(self, name: str):
        return getattr(self._file, name)

    def __enter__(self) -> "TornFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def run_until(monkeypatch: pytest.MonkeyPatch, last: int, action: Callable[[], None]) -> bool:
    """Run an action that dies before its file-system operation number `last`; whether it did."""
    life = Life(last)
    with monkeypatch.context() as patch:
        for name in ("rename", "replace", "mkdir", "unlink", "rmdir"):
            patch.setattr(os, name, _ticking(life, getattr(os, name)))
        patch.setattr(os, "fsync", lambda _: life.tick())
        patch.setattr(Path, "open", _ticking_open(life, Path.open))
        try:
            action()
        except Death:
            return True
    return False


def _ticking(life: Life, operation: Callable) -> Callable:
    def ticking(*args, **kwargs):
        life.tick()
        return operation(*args, **kwargs)

    return ticking


def _ticking_open(life: Life, original: Callable) -> Callable:
    def ticking_open(path: Path, mode: str = "r", *args, **kwargs):
        if not {"w", "x"} & set(mode):
            return original(path, mode, *args, **kwargs)
        life.tick()
        return TornFile(original(path, mode, *args, **kwargs), life)

    return ticking_open


def fill_with(content: dict[str, bytes]) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        for name, data in content.items():
            (folder / name).write_bytes(data)

    return fill


def sealed(folder: Path, content: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    fill_with(content)(folder)
    seal(folder)
    return folder


def content_of(folder: Path) -> dict[str, bytes] | None:
    """What a sound folder holds; None where there is none."""
    if not folder.exists():
        return None
    assert find_damage(folder) is None
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != MANIFEST}


def names_in(folder: Path) -> set[str]:
    """The names in a folder; of temporary ones only the kind, such as `.new`."""
    return {path.suffix if is_temporary(path.name) else path.name for path in folder.iterdir()}


def settled_content(folder: Path) -> dict[str, bytes] | None:
    """What a reader finds, who must change nothing."""
    before = tree(folder.parent)
    found = content_of(settled_folder(folder))
    assert tree(folder.parent) == before
    return found


@pytest.mark.parametrize("first", [None, OLD], ids=["first save", "replacement"])
def test_replace_folder_dies_before_every_operation(tmp_path, monkeypatch, first):
    found, last, died = [], 0, True
    while died:
        last += 1
        folder = tmp_path / str(last) / "last"
        folder.parent.mkdir()
        if first:
            sealed(folder, first)
        died = run_until(monkeypatch, last, lambda folder=folder: replace_folder(folder, fill_with(NEW)))
        found.append(settled_content(folder))
        recover_folder(folder)
        assert content_of(folder) == found[-1]
        assert [path.name for path in folder.parent.iterdir()] == (["last"] if found[-1] else [])
    assert last > 15  # mkdir, three torn files, their syncs, the swap
    switch = found.index(NEW)
    assert switch > 10  # the old one is kept all the time that the new one is written
    assert found == [first] * switch + [NEW] * (len(found) - switch)
    assert switch < len(found) - 1  # the death just before the end finds the new one


def test_recover_folder_dies_before_every_operation(tmp_path, monkeypatch):
    """Every death of the replacement, and in each every death of the recovery, which is then started again."""
    deaths = 0
    for last in range(1, 100):
        for second in range(1, 100):
            folder = tmp_path / f"{last}-{second}" / "last"
            sealed(folder, OLD)
            if not run_until(monkeypatch, last, lambda folder=folder: replace_folder(folder, fill_with(NEW))):
                assert deaths > 30
                return
            expected = settled_content(folder)
            died = run_until(monkeypatch, second, lambda folder=folder: recover_folder(folder))
            deaths += died
            assert settled_content(folder) == expected
            recover_folder(folder)
            assert content_of(folder) == expected
            assert [path.name for path in folder.parent.iterdir()] == ["last"]
            if not died:
                break
    pytest.fail("the replacement never came to its end")


def test_replace_folder_after_every_death_starts_afresh(tmp_path, monkeypatch):
    newest = {"weights": b"newest", "other": b"another file"}
    for last in range(1, 100):
        folder = sealed(tmp_path / str(last) / "last", OLD)
        died = run_until(monkeypatch, last, lambda folder=folder: replace_folder(folder, fill_with(NEW)))
        replace_folder(folder, fill_with(newest))
        assert content_of(folder) == newest
        assert [path.name for path in folder.parent.iterdir()] == ["last"]
        if not died:
            return
    pytest.fail("the replacement never came to its end")


def _cut(folder: Path) -> None:
    (folder / "weights").write_bytes(NEW["weights"][:-1])


def _alter(folder: Path) -> None:
    (folder / "state").write_bytes(b"new!?")


def _lose(folder: Path) -> None:
    (folder / "state").unlink()


def _unseal(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def _cut_manifest(folder: Path) -> None:
    whole = (folder / MANIFEST).read_bytes()
    (folder / MANIFEST).write_bytes(whole[: len(whole) // 2])


def _empty_manifest(folder: Path) -> None:
    write_json(folder / MANIFEST, {"sha256": ["weights", "state"]})


DAMAGES = {
    _cut: "weights differs",
    _alter: "state differs",
    _lose: "state is missing",
    _unseal: f"{MANIFEST} is missing",
    _cut_manifest: f"{MANIFEST} cannot be read",
    _empty_manifest: f"{MANIFEST} cannot be read",
}


@pytest.mark.parametrize(("damage", "complaint"), DAMAGES.items())
def test_a_damaged_new_folder_is_never_taken(tmp_path, damage, complaint):
    """A manifest that is JSON of another shape was an AttributeError once."""
    new = sealed(temporary_path(tmp_path / "last", "new"), NEW)
    assert find_damage(new) is None
    damage(new)
    assert complaint in str(find_damage(new))
    assert settled_content(tmp_path / "last") is None
    old = sealed(temporary_path(tmp_path / "last", "old"), OLD)
    assert settled_folder(tmp_path / "last") == old
    recover_folder(tmp_path / "last")
    assert content_of(tmp_path / "last") == OLD
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


def test_a_failing_fill_keeps_the_old_folder(tmp_path):
    folder = sealed(tmp_path / "last", OLD)
    with pytest.raises(OSError, match="disk full"):
        replace_folder(folder, lambda new: (new / "weights").write_bytes(b"half") and fail(OSError("disk full"))())
    assert settled_content(folder) == OLD
    recover_folder(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


KILLED = """
import os, signal, sys
from pathlib import Path
from storyloom.files import replace_folder

kill_at, count = int(sys.argv[2]), 0

def counting(operation):
    def counted(*args, **kwargs):
        global count
        count += 1
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return operation(*args, **kwargs)
    return counted

for name in ("rename", "unlink", "rmdir"):
    setattr(os, name, counting(getattr(os, name)))

def fill(folder):
    (folder / "weights").write_bytes(b"new weights, thirteen")
    (folder / "state").write_bytes(b"new!!")

replace_folder(Path(sys.argv[1]), fill)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize(
    ("kill_at", "expected", "left"),
    [
        (1, OLD, {"last", ".new"}),  # before the old one is renamed
        (2, NEW, {".new", ".old"}),  # between the two renames
        (3, NEW, {"last", ".old"}),  # before the old one is removed
        (5, NEW, {"last", ".old"}),  # two of its three files gone
    ],
)
def test_replace_folder_is_killed(tmp_path, kill_at, expected, left):
    folder = sealed(tmp_path / "last", OLD)
    finished = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(kill_at)], check=False)
    assert finished.returncode == -signal.SIGKILL
    assert names_in(tmp_path) == left
    assert settled_content(folder) == expected
    recover_folder(folder)
    assert content_of(folder) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


def test_write_bytes_dies_before_every_operation(tmp_path, monkeypatch):
    found, last, died = [], 0, True
    path = tmp_path / "config.toml"
    while died:
        last += 1
        path.write_bytes(b"the old content")
        died = run_until(monkeypatch, last, lambda: write_bytes(path, b"new content, longer"))
        found.append(path.read_bytes())
    switch = found.index(b"new content, longer")
    assert switch > 4  # open, two halves, sync, rename
    assert found == [b"the old content"] * switch + [b"new content, longer"] * (len(found) - switch)
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


def test_a_full_disk_keeps_the_old_file_and_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fail(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        write_bytes(tmp_path / "a", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old"}


def test_written_text_is_utf8_with_line_ends_as_given(tmp_path):
    write_text(tmp_path / "a", "ä\nb\r\n")
    assert (tmp_path / "a").read_bytes() == b"\xc3\xa4\nb\r\n"
    write_json(tmp_path / "b", {"ä": [1, None]})
    assert "ä" in (tmp_path / "b").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "b").read_bytes()) == {"ä": [1, None]}


def test_sha256_is_the_published_one(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_is_vacant(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    assert not is_vacant(tmp_path / "link")
    assert is_vacant(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    assert is_vacant(tmp_path / "empty")
    assert not is_vacant(tmp_path)
    (tmp_path / "file").touch()
    assert not is_vacant(tmp_path / "file")


def test_every_file_is_synced_before_the_swap(tmp_path, monkeypatch):
    """A folder that is renamed before its bytes are on the disk can be empty after a power cut."""
    events = []

    def shown(path: Path) -> str:
        return path.suffix if is_temporary(path.name) else path.name

    monkeypatch.setattr(files, "sync", lambda path: events.append(shown(path)))
    rename = os.rename
    monkeypatch.setattr(os, "rename", lambda a, b: (events.append(f"{shown(a)} -> {shown(b)}"), rename(a, b)))
    replace_folder(sealed(tmp_path / "last", OLD), fill_with(NEW))
    swap = events.index("last -> .old")
    assert {"weights", "state", ".new"} <= set(events[:swap])
    assert events[swap:] == ["last -> .old", ".new -> last", tmp_path.name]
