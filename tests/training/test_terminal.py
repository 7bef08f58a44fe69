"""A terminal that closes: the run saves `last`, ends, and goes on to the same bits."""

import os
import subprocess
import sys

import pytest

from storyloom.runs import load_checkpoint
from storyloom.training import train

pty = pytest.importorskip("pty", reason="this system has no terminals of that kind")
fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")

COMMAND = "from storyloom.cli import main; main()"
SETTINGS = ["train.max_steps=201", "train.checkpoint_interval=1000", "train.eval_interval=100"]


def take_terminal() -> None:
    """Become the first process of a session on the terminal at standard input."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_a_terminal_that_closes_is_a_polite_stop(tmp_path, tiny_file, short_data, computed):
    whole = train(short_data, out=tmp_path / "A", config=tiny_file, settings=SETTINGS, progress=False)
    ours, theirs = pty.openpty()
    words = ["train", "--data", str(short_data.path), "--out", str(tmp_path / "B"), "--config", str(tiny_file)]
    words += [word for setting in SETTINGS for word in ("--set", setting)]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words], stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=take_terminal
    )
    os.close(theirs)
    seen = b""
    while b"  loss " not in seen:  # the live line: training is under way
        seen += os.read(ours, 1024)
    os.close(ours)
    assert process.wait(60) == 130
    step = load_checkpoint(tmp_path / "B" / "checkpoints" / "last").state["step"]
    assert 0 < step < 201
    again = train(out=tmp_path / "B", resume=True, progress=False)
    assert computed(again.path) == computed(whole.path)
