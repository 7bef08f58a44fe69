"""What works on Windows, held on Linux by fakes: no `fcntl`, no `fork`, and a file system with its refusals.

There, a file is synced only if it is open for writing, a folder cannot be opened, nothing is renamed onto what exists
(`os.replace` may, a file), and no open file is renamed or removed.
"""

import os
import sys
from pathlib import Path

import pytest

from storyloom import locking
from storyloom.data import prepare
from storyloom.errors import DataError
from storyloom.files import replace_folder, sole_writer, sync, write_bytes
from storyloom.reporting.page import write_page

from .folders import tree

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the fakes need to see what is open")


def is_open(path: object) -> bool:
    """Whether this process has a file, or one below a folder, open."""
    wanted, found = os.path.realpath(os.fspath(path)), []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:  # the one that listed them
            continue
    return any(name == wanted or name.startswith(wanted + "/") for name in found)


def refuse_open(path: object) -> None:
    if is_open(path):
        raise PermissionError(13, "The process cannot access the file: it is being used", str(path))


class Windows:
    """The operations of `os`, with the refusals of another system."""

    def __init__(self) -> None:
        names = ("fsync", "open", "rename", "replace", "unlink")
        self.real = {name: getattr(os, name) for name in names}
        self.flags = pytest.importorskip("fcntl")

    def fsync(self, descriptor: int) -> None:
        if self.flags.fcntl(descriptor, self.flags.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(9, "Bad file descriptor")
        self.real["fsync"](descriptor)

    def open(self, path, flags, *rest, **options):
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", str(path))
        return self.real["open"](path, flags, *rest, **options)

    def rename(self, source, target) -> None:
        if os.path.lexists(target):
            raise FileExistsError(17, "Cannot create a file when that file already exists", str(target))
        refuse_open(source)
        self.real["rename"](source, target)

    def replace(self, source, target) -> None:
        if os.path.isdir(target):
            raise PermissionError(13, "Access is denied", str(target))
        refuse_open(source)
        refuse_open(target)
        self.real["replace"](source, target)

    def unlink(self, path, *rest, **options) -> None:
        refuse_open(path)
        self.real["unlink"](path, *rest, **options)


@pytest.fixture
def windows(monkeypatch) -> None:
    """The operating system's refusals, for a test."""
    fake = Windows()
    for name in fake.real:
        monkeypatch.setattr(os, name, getattr(fake, name))
    monkeypatch.setattr(os, "remove", fake.unlink)
    monkeypatch.delattr(os, "fork")
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setattr(locking, "ON_WINDOWS", True)
    monkeypatch.setattr("shutil._use_fd_functions", False)  # its way to remove folders there


@pytest.mark.usefixtures("windows")
def test_the_fakes_refuse_what_windows_refuses(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    with (tmp_path / "a").open("rb") as file, pytest.raises(OSError, match="Bad file"):
        os.fsync(file.fileno())
    with pytest.raises(PermissionError):
        os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(FileExistsError):
        os.rename(tmp_path / "a", tmp_path / "b")
    with (tmp_path / "a").open("rb"), pytest.raises(PermissionError):
        (tmp_path / "a").unlink()
    with (tmp_path / "a").open("rb"), pytest.raises(PermissionError):
        os.replace(tmp_path / "a", tmp_path / "b")


@pytest.mark.usefixtures("windows")
def test_files_and_folders_are_written(tmp_path):
    """Every file was synced through a descriptor that was open for reading, which is refused there."""
    for content in (b"old", b"new"):
        write_bytes(tmp_path / "a", content)
        replace_folder(tmp_path / "b", lambda folder, content=content: (folder / "c").write_bytes(content) and None)
        sync(tmp_path)
        with sole_writer(tmp_path / "b"):
            pass
    assert tree(tmp_path).keys() == {"a", "b", "b/c", "b/manifest.json"}
    assert (tree(tmp_path)["a"], tree(tmp_path)["b/c"]) == (b"new", b"new")


@pytest.mark.usefixtures("windows")
@pytest.mark.parametrize("tokenizer", ["bpe", "char"])
def test_data_is_prepared(tmp_path, tokenizer):
    (tmp_path / "D").mkdir()
    data = prepare("storybook", out=tmp_path / "D", tokenizer=tokenizer, limit_mb=0.05, clean=True)
    assert len(data.val_stories()) == data.manifest.val.stories
    assert {path.name for path in tmp_path.iterdir()} == {"D"}
    assert {path.name for path in data.path.iterdir()} == {
        *("manifest.json", "tokenizer.json", "train-00000.bin", "val-00000.bin", "val.txt")
    }


@pytest.mark.usefixtures("windows")
def test_checkpoints_are_saved_and_loaded(tmp_path):
    """No run survived its first checkpoint there."""
    import torch

    from storyloom.runs import load_checkpoint, save_checkpoint
    from storyloom.runs.checkpoint import Checkpoint

    for step in (3, 5):
        save_checkpoint(tmp_path / "last", Checkpoint({"a": torch.arange(step)}, {}, {"step": step}))
        assert load_checkpoint(tmp_path / "last").state == {"step": step}
    assert {path.name for path in tmp_path.iterdir()} == {"last"}


@pytest.mark.usefixtures("windows")
def test_pages_are_written(tmp_path):
    for text in ("<p>old", "<p>new"):
        assert write_page(tmp_path / "a.html", text).read_text() == text
    assert {path.name for path in tmp_path.iterdir()} == {"a.html"}


@pytest.mark.usefixtures("windows")
def test_a_failure_leaves_nothing(tmp_path):
    (tmp_path / "a.txt").write_text("one story alone")
    with pytest.raises(DataError, match=r"no story (for|in) "):
        prepare(tmp_path / "a.txt", out=tmp_path / "D")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
