"""`prepare` ended at random moments, and two at once: all or nothing is there, and no file of a user's is touched."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no such signals"),
]

PREPARE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a process in the background may inherit ignored
from storyloom.cli import main
main(["prepare", "storybook", "--limit-mb", "0.4", "--vocab-size", "400", "--out", sys.argv[1]])
"""
USERS = {
    "D.partial/a": b"mine",
    ".D.0123456789abcdef.partial/a": b"mine",
    "D.new": b"mine",
    ".E.storyloom-lock": b"mine",
}


def start(out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PREPARE, str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def in_peace(out: Path) -> None:
    with start(out) as process:
        said = process.communicate(timeout=100)[1]
    assert (process.returncode, said) == (0, "")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[dict[str, bytes], float]:
    """The files of a data folder that was made in peace, and the seconds it took."""
    place, began = tmp_path_factory.mktemp("whole"), time.monotonic()
    in_peace(place / "D")
    return files(place), time.monotonic() - began


@pytest.mark.parametrize("attempt", range(20))
def test_prepare_is_ended_at_a_random_moment(tmp_path, whole, attempt):
    expected, seconds = whole
    rng = random.Random(attempt)
    for name, content in USERS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    number = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP][attempt % 4]
    with start(tmp_path / "D") as process:
        time.sleep(seconds * rng.uniform(0.2, 1.0))
        process.send_signal(number)
    status = process.returncode
    found = files(tmp_path)
    assert found.items() >= USERS.items()
    data = {name: content for name, content in found.items() if name.startswith("D/")}
    assert data in ({}, expected)
    if number != signal.SIGKILL and status in (130, 128 + number):  # it had begun to work, and cleaned up
        assert found.keys() <= expected.keys() | USERS.keys()
    if not data:
        in_peace(tmp_path / "D")
    assert files(tmp_path) == expected | USERS
    assert not [name for name in os.listdir(tmp_path) if name not in {"D", *(user.split("/")[0] for user in USERS)}]


@pytest.mark.parametrize("attempt", range(10))
def test_two_at_once(tmp_path, whole, attempt):
    """Both failed at times, and the loser removed the winner's files."""
    with start(tmp_path / "D") as one:
        time.sleep(whole[1] * random.Random(attempt).uniform(0.0, 0.3))
        with start(tmp_path / "D") as other:
            said = one.communicate(timeout=100)[1] + other.communicate(timeout=100)[1]
    assert sorted([one.returncode, other.returncode]) == [0, 2]
    assert said.count("storyloom: ") == 1
    assert "is being made by another process" in said or "exists already" in said
    assert files(tmp_path) == whole[0]
