"""SIGTERM and SIGHUP clean up as Ctrl-C does, and say so in the exit status."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from storyloom.signals import ENDING, exit_on_signals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes there are ended without a word")


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_becomes_the_exit_status_of_a_shell(number):
    with pytest.raises(SystemExit) as caught, exit_on_signals():
        signal.raise_signal(number)
    assert caught.value.code == 128 + number
    assert signal.getsignal(number) is signal.SIG_DFL


def test_a_second_signal_does_not_end_the_cleaning():
    """A terminal that closes sends two."""
    cleaned = []

    @contextmanager
    def cleaning():
        try:
            yield
        finally:
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGTERM)
            cleaned.append(None)

    with pytest.raises(SystemExit) as caught, exit_on_signals(), cleaning():
        signal.raise_signal(signal.SIGHUP)
    assert cleaned
    assert caught.value.code == 129


def test_a_programs_own_handlers_are_left_alone():
    noted = []
    before = signal.signal(signal.SIGTERM, lambda *_: noted.append(None)), signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with exit_on_signals():
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGHUP)
        assert noted == [None]
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGHUP, before[1])


def test_outside_the_main_thread_nothing_changes():
    found = []

    def work() -> None:
        with exit_on_signals():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.SIG_DFL]


COMMAND = "from storyloom.cli import main; main()"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_prepare_cleans_up(tmp_path: Path, number: int, status: int) -> None:
    """Only Ctrl-C cleaned up: `kill`, `timeout` and a closed terminal left a folder half built."""
    words = ["prepare", "storybook", "--out", str(tmp_path / "a" / "D"), "--limit-mb", "200"]
    with subprocess.Popen([sys.executable, "-c", COMMAND, *words], stderr=subprocess.PIPE) as process:
        try:
            while not list(tmp_path.glob("a/.D.*.partial/train.txt")):
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, said) == (status, b"")
    assert os.listdir(tmp_path) == []


GUARDED = """
from storyloom.cli import main
if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_workers_end_without_a_word(tmp_path: Path, number: int, status: int) -> None:
    """A signal to all processes, as a terminal that closes sends it: Python's own helper process printed tracebacks."""
    script = tmp_path / "run.py"
    script.write_text(GUARDED)
    words = ["prepare", "storybook", "--out", str(tmp_path / "D"), "--limit-mb", "200", "--clean", "--workers", "2"]
    command = [sys.executable, str(script), *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            while not any(path.stat().st_size for path in tmp_path.glob(".D.*.partial/train.txt")):
                assert process.poll() is None
                time.sleep(0.01)
            os.killpg(process.pid, number)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, "Traceback" in said) == (status, False)
    assert os.listdir(tmp_path) == ["run.py"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_what_a_killed_prepare_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    words = ["prepare", "storybook", "--out", str(tmp_path / "D"), "--tokenizer", "char", "--limit-mb"]
    with subprocess.Popen([sys.executable, "-c", COMMAND, *words, "200"]) as process:
        while not list(tmp_path.glob(".D.*.partial/train.txt")):
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert sorted(name.split(".")[-1] for name in os.listdir(tmp_path)) == ["partial", "storyloom-lock"]
    subprocess.run([sys.executable, "-c", COMMAND, *words, "0.05"], check=True, stdout=subprocess.DEVNULL)
    assert os.listdir(tmp_path) == ["D"]
