"""`report` is killed: the old page or the new one is there, whole; the next one cleans up."""

import random
import signal
import time
from pathlib import Path

import pytest

from storyloom.temporary import is_temporary

from .chains import ALL, strays


def is_writing(folder: Path) -> bool:
    return any(is_temporary(path.name) for path in folder.iterdir())


def kill_report(server, run: Path, folder: Path, tally, kills: int, seed: int) -> None:
    page, pages, seconds = folder / "place" / "page.html", {}, 0.0
    page.parent.mkdir()
    for checkpoint in ("last", "best"):
        start = time.monotonic()
        command = server.run("report", run, "--out", page, "--checkpoint", checkpoint)
        assert command.wait() == 0, command.said
        pages[checkpoint], seconds = page.read_bytes(), time.monotonic() - start
    assert pages["last"] != pages["best"]
    words, dice, killed = ["report", run, "--out", page, "--checkpoint", "last"], random.Random(seed), 0
    while killed < kills:
        page.write_bytes(pages["best"])
        number, command = dice.choice(ALL), server.start(*words)
        if killed % 2 == 0:
            command.stop_when(lambda: is_writing(page.parent))
        else:
            time.sleep(dice.uniform(0.02, seconds))
        command.signal(number)
        status = command.wait()
        assert page.read_bytes() in pages.values()
        if status == 0:
            continue
        assert status in {130 if number == signal.SIGINT else 143, -number}, command.said
        assert "Traceback" not in command.said
        killed += 1
        tally[f"killed by {signal.Signals(number).name}"] += 1
        tally["killed, in `report`"] += 1
        if number != signal.SIGKILL:
            assert strays(page.parent) == []
        after = server.run(*words)
        assert after.wait() == 0, after.said
        assert page.read_bytes() == pages["last"]
        assert strays(page.parent) == []
        tally["resumed and compared to the bit"] += 1


@pytest.fixture
def finished(server, little, tiny_file, tmp_path) -> Path:
    """A run whose best model is not its last."""
    words = ["--set", "train.learning_rate=0.3", "--set", "train.max_steps=23"]
    command = server.run("train", "--data", little.path, "--config", tiny_file, "--out", tmp_path / "R", *words)
    assert command.wait() == 0, command.said
    return tmp_path / "R"


@pytest.mark.slow
def test_killed_report(server, finished, tmp_path, tally):
    """A few, in less time."""
    kill_report(server, finished, tmp_path, tally, 1, seed=41)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_reports(server, finished, tmp_path, tally):
    kill_report(server, finished, tmp_path, tally, 10, seed=43)
