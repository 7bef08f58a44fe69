"""Disks that are full or may not be written: one line that names the path, and nothing is lost or half written."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from storyloom.data import Data

from ..folders import tree
from ..training.conftest import what_was_computed
from .chains import check_readable, strays
from .processes import NOBODY

needs_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount disks")
PREPARE = ["prepare", "storybook", "--limit-mb", "0.3", "--vocab-size", "307", "--out"]


class Disk:
    """A disk in memory."""

    def __init__(self, path: Path, size: str) -> None:
        self.path = path
        path.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", path], capture_output=True
        )
        if mounted.returncode != 0:
            pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode()}")

    def change(self, options: str) -> None:
        """Mount it again: another size, `ro` or `rw`."""
        subprocess.run(["mount", "-o", f"remount,{options}", self.path], check=True)


@pytest.fixture
def disk(tmp_path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk", "64k")
    yield made
    subprocess.run(["umount", made.path], check=True)


@pytest.fixture
def training(little, tiny_file) -> list[object]:
    return ["train", "--data", little.path, "--config", tiny_file, "--set", "train.checkpoint_interval=1", "--out"]


def grow(server, disk: Disk, words: list[object], out: Path, sizes: list[int], tally) -> int:
    """Run a command as its disk grows; returns how many of the sizes (kilobytes) were too small."""
    for number, size in enumerate(sizes):
        disk.change(f"size={size}k")
        command = server.run(*words)
        tally["full or read-only disks"] += 1
        if command.wait() == 0:
            return number
        line = command.refused()
        assert f"cannot use {out}" in line
        assert "No space left on device" in line
        assert strays(disk.path) == []
        if (out / "config.toml").exists():
            check_readable(out)
    raise AssertionError("the largest is too small, too")


def train_on_growing_disk(server, disk: Disk, training, whole: Path, sizes: list[int], tally) -> None:
    command = server.run(*training, whole)
    assert command.wait() == 0, command.said
    words = [*training, disk.path / "R", "--resume"]
    assert grow(server, disk, words, disk.path / "R", sizes, tally) == len(sizes) - 1
    assert what_was_computed(disk.path / "R") == what_was_computed(whole)


@needs_root
@pytest.mark.slow
def test_training_goes_on_as_its_disk_grows(server, disk, training, tmp_path, tally):
    sizes = [*(8, 36, 100, 300, 500, 700), 8000]
    train_on_growing_disk(server, disk, training, tmp_path / "whole", sizes, tally)


@needs_root
@pytest.mark.slow
def test_preparing_as_its_disk_grows(server, disk, tmp_path, tally):
    words, out = [*PREPARE, disk.path / "D"], disk.path / "D"
    assert server.run(*PREPARE, tmp_path / "D").wait() == 0
    for size in (40, 200, 320):
        assert grow(server, disk, words, out, [size, 4000], tally) == 1
        assert tree(out) == tree(tmp_path / "D")
        shutil.rmtree(out)


@needs_root
@pytest.mark.slow
def test_a_disk_that_turns_read_only(server, disk, training, tmp_path, tally):
    """After an error of the hardware a system mounts a disk so."""
    disk.change("size=8m")
    assert server.run(*training, tmp_path / "whole").wait() == 0
    run = disk.path / "R"
    command = server.start(*training, run)
    assert command.stop_when((run / "checkpoints" / "best").exists)
    command.signal(9)
    command.wait()
    disk.change("ro")
    before = tree(disk.path)
    for words in ([*training, run, "--resume"], ["report", run], [*PREPARE, disk.path / "D"]):
        line = server.run(*words).refused()
        assert str(words[words.index("--out") + 1] if "--out" in words else run) in line
        assert "Read-only file system" in line
        assert tree(disk.path) == before
        tally["full or read-only disks"] += 1
    disk.change("rw")
    assert server.run(*training, run, "--resume").wait() == 0
    assert what_was_computed(run) == what_was_computed(tmp_path / "whole")


@needs_root
@pytest.mark.slow
def test_folders_of_somebody_else(server, little, tiny_file, training, tally):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(little.path, folder / "data")
        shutil.copy(tiny_file, folder / "tiny.toml")
        train = ["train", "--data", folder / "data", "--config", folder / "tiny.toml", "--out"]
        assert server.run(*train, folder / "R").wait() == 0
        before = tree(folder)
        for words in ([*PREPARE, folder / "D"], [*train, folder / "new"], [*train, folder / "R", "--resume"]):
            line = server.run(*words, user=NOBODY).refused()
            assert str(words[words.index("--out") + 1]) in line
            assert "Permission denied" in line
            assert tree(folder) == before
            tally["full or read-only disks"] += 1


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize("verb", ["prepare", "train"])
def test_standard_output_is_full(server, training, tmp_path, tally, verb):
    """The work is done all the same."""
    words = [*PREPARE, tmp_path / "D"] if verb == "prepare" else [*training, tmp_path / "R"]
    assert "standard output: No space left" in server.run(*words, stdout="/dev/full").refused()
    if verb == "prepare":
        Data(tmp_path / "D")
    else:
        check_readable(tmp_path / "R")
    tally["full or read-only disks"] += 1
