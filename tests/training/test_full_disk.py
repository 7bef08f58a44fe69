"""A disk that is full: one line, nothing lost, and the run goes on to the same bits once there is room."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from storyloom.cli import main
from storyloom.runs import Run, load_checkpoint
from storyloom.training import train


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def refused(capsys):
    """Run a command that must end with one line and status 2."""

    def run(*words: object) -> str:
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        assert stop.value.code == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith("storyloom: ")
        return line

    return run


def test_a_disk_that_fills_up_loses_nothing(tmp_path, tiny_file, short_data, small_disk, refused, computed):
    whole = train(short_data, out=tmp_path / "A", config=tiny_file, progress=False)
    out = small_disk / "R"  # two checkpoints of 0.4 MB fit, a third one and the new one that replaces it do not
    words = ["train", "--data", short_data.path, "--out", out, "--config", tiny_file]
    message = refused(*words)
    assert f"cannot use {out}: No space left on device" in message
    assert "--resume" in message
    run = Run(out)
    step = load_checkpoint(run.checkpoint_folder("last")).state["step"]
    assert 0 < step < 11
    assert {path.name for path in (out / "checkpoints").iterdir()} <= {"last", "best"}
    assert "No space left on device" in refused(*words, "--resume")  # still full
    assert load_checkpoint(run.checkpoint_folder("last")).state["step"] == step
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    again = train(out=out, resume=True, progress=False)
    assert computed(again.path) == computed(whole.path)


def test_preparing_onto_a_full_disk_leaves_nothing(tmp_path, small_disk, refused):
    words = ["prepare", "storybook", "--out", small_disk / "D", "--limit-mb", "2", "--tokenizer", "char"]
    message = refused(*words)
    assert (
        message
        == f"storyloom: cannot use {small_disk / 'D'}: No space left on device; mend that, or name another place"
    )
    assert [*small_disk.iterdir()] == []
