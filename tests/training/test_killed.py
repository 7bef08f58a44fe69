"""The process is killed, without a chance to say anything; resumed, it ends with the very weights it would have had."""

import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")

TRAINING = """
import sys
from storyloom.training import train
train(sys.argv[1], out=sys.argv[2], config=sys.argv[3], settings=sys.argv[4:], resume=True, progress=False)
"""
COMMAND = "from storyloom.cli import main; main()"
PATIENCE = 240.0  # seconds; only a process that hangs takes them


def start(data: Path, out: Path, config: Path, settings: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", TRAINING, str(data), str(out), str(config), *settings])


def finish(process: subprocess.Popen[bytes]) -> None:
    assert process.wait(PATIENCE) == 0


def kill_when(process: subprocess.Popen[bytes], moment: Callable[[], bool]) -> bool:
    """Kill a training at a moment; False where it ended before."""
    deadline = time.monotonic() + PATIENCE
    while not moment():
        if process.poll() is not None:
            assert process.returncode == 0
            return False
        assert time.monotonic() < deadline
        time.sleep(0.0005)  # leave the core to the training
    process.kill()
    return process.wait(PATIENCE) == -signal.SIGKILL


def saved_step(out: Path) -> int:
    """The step of the checkpoint `last`, 0 where there is none or it is just being replaced."""
    try:
        return json.loads((out / "checkpoints" / "last" / "state.json").read_bytes())["step"]
    except (OSError, ValueError):
        return 0


def is_saving(out: Path) -> bool:
    """Whether a checkpoint lies there half replaced."""
    return any(out.glob("checkpoints/*.new")) or any(out.glob("checkpoints/*.old"))


def weights(out: Path) -> str:
    return hashlib.sha256((out / "checkpoints" / "last" / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture
def training(tmp_path, tiny_file, short_data):
    """Start, or resume, the same training in one folder or another."""

    def begin(name: str, settings: list[str]) -> tuple[Path, subprocess.Popen[bytes]]:
        return tmp_path / name, start(short_data.path, tmp_path / name, tiny_file, settings)

    return begin


def test_killed_between_two_saves_and_in_a_save(training, computed):
    settings = ["model.dropout=0.1", "train.max_steps=23", "train.checkpoint_interval=1", "train.precision=fp32"]
    whole, process = training("whole", settings)
    finish(process)
    killed, process = training("killed", settings)
    assert kill_when(process, lambda: saved_step(killed) >= 3)
    before = saved_step(killed)
    killed, process = training("killed", settings)
    assert kill_when(process, lambda: saved_step(killed) > before and is_saving(killed))
    killed, process = training("killed", settings)
    finish(process)
    assert computed(killed) == computed(whole)


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


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("precision", "compiled", "wanted"),
    [("fp32", False, 20), ("bf16", False, 20), ("fp32", True, 6), ("bf16", True, 6)],  # each start compiles anew
)
def test_killed_at_random_moments(training, computed, precision, compiled, wanted):
    """A checkpoint every update, so that a good share of the kills hits a save."""
    settings = [
        f"train.precision={precision}",
        f"train.compile={str(compiled).lower()}",
        "model.dropout=0.1",
        "train.max_steps=557",
        "train.checkpoint_interval=1",
        "train.eval_interval=101",
        "train.sample_interval=307",
    ]
    whole, process = training("whole", settings)
    finish(process)
    dice = random.Random(20)
    kills = in_a_save = reached = 0
    while kills < wanted:
        killed, process = training("killed", settings)
        moment = random_moment(killed, max(reached, saved_step(killed)) + dice.randint(1, 25), dice.uniform(0, 0.05))
        assert kill_when(process, moment), f"the training ended after {kills} kills"
        kills += 1
        in_a_save += is_saving(killed)
        reached = max(reached, saved_step(killed))
    assert in_a_save >= 1 or compiled
    killed, process = training("killed", settings)
    finish(process)
    print(f"{precision}, compiled {compiled}: {kills} kills, {in_a_save} of them in a save, the last at step {reached}")
    assert weights(killed) == weights(whole)
    assert computed(killed) == computed(whole)


def random_moment(out: Path, step: int, delay: float) -> Callable[[], bool]:
    """Some steps on, and then anywhere within an update or a save."""
    reached: list[float] = []

    def has_come() -> bool:
        if not reached and saved_step(out) >= step:
            reached.append(time.monotonic())
        return bool(reached) and time.monotonic() >= reached[0] + delay

    return has_come
