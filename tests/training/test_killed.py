"""Ctrl-C in a fresh process, as a user presses it; `tests/kills` has all other ends of a process."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")

COMMAND = "from storyloom.cli import main; main()"
PATIENCE = 240.0  # seconds; only a process that hangs takes them


def saved_step(out: Path) -> int:
    """The step of the checkpoint `last`, 0 where there is none or it is just being replaced."""
    try:
        return json.loads((out / "checkpoints" / "last" / "state.json").read_bytes())["step"]
    except (OSError, ValueError):
        return 0


def is_saving(out: Path) -> bool:
    """Whether a checkpoint lies there half replaced."""
    return any(out.glob("checkpoints/*.new")) or any(out.glob("checkpoints/*.old"))


def test_ctrl_c_saves_and_exits_with_130(tmp_path, tiny_file, short_data):
    settings = ["--set", "train.max_steps=9001", "--set", "train.sample_interval=9001"]
    words = ["train", "--data", str(short_data.path), "--config", str(tiny_file), *settings]
    command = [sys.executable, "-c", COMMAND, *words, "--out", str(tmp_path / "R")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    deadline = time.monotonic() + PATIENCE
    while saved_step(tmp_path / "R") < 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert shown.decode().splitlines()[-1].endswith(f"storyloom train --out {tmp_path / 'R'} --resume")
    assert b"Traceback" not in shown
    assert not is_saving(tmp_path / "R")
    written = (tmp_path / "R" / "metrics.jsonl").read_text().splitlines()
    assert saved_step(tmp_path / "R") == json.loads(written[-1])["step"] < 9001  # saved behind the very last update
