"""`prepare` is killed: the folder is not there, or whole; the next one cleans up, and makes the very same bytes."""

import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from storyloom.data import Data
from storyloom.temporary import LOCK_ENDING

from ..folders import tree
from .chains import ALL, strays

NEIGHBORS = ("D.partial/a", ".D.partial/a", ".D.0123456789abcdef.partial/a", "D.new", ".D.0123456789abcdef.tmp")


def kill_prepare(server, folder: Path, tally, kills: int, seed: int, *more: object) -> None:
    words = ["prepare", "storybook", "--limit-mb", "0.3", "--vocab-size", "307", *more, "--out"]
    start = time.monotonic()
    whole = server.run(*words, folder / "whole")
    assert whole.wait() == 0, whole.said
    seconds, wanted, dice = time.monotonic() - start, tree(folder / "whole"), random.Random(seed)
    place, killed = folder / "place", 0
    for name in NEIGHBORS:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("mine")
    before = tree(place)
    while killed < kills:
        number, command = dice.choice(ALL), server.start(*words, place / "D")
        time.sleep(dice.uniform(0.02, 0.9 * seconds))
        command.signal(number)
        status = command.wait()
        if status != 0:
            assert status in {130 if number == signal.SIGINT else 143, -number}, command.said
            assert "Traceback" not in command.said
            killed += 1
            tally[f"killed by {signal.Signals(number).name}"] += 1
            tally["killed, in `prepare`"] += 1
            if number != signal.SIGKILL:
                assert strays(place) == []
            if not (place / "D").exists():  # else it had just been put in place
                assert number == signal.SIGKILL or tree(place) == before
                after = server.run(*words, place / "D")
                assert after.wait() == 0, after.said
            tally["resumed and compared to the bit"] += 1
        assert tree(place / "D") == wanted
        Data(place / "D")
        for lock in place.glob(f".D{LOCK_ENDING}"):  # of one that was killed behind its last step
            lock.unlink()
        assert strays(place) == []
        shutil.rmtree(place / "D")
        assert tree(place) == before


@pytest.mark.slow
def test_killed_prepare(server, tmp_path, tally):
    """A few, in less time."""
    kill_prepare(server, tmp_path, tally, 3, seed=31)


@pytest.mark.slow
@pytest.mark.parametrize(("kills", "workers"), [(16, 1), (4, 2)])
def test_killed_prepares(server, tmp_path, tally, kills, workers):
    kill_prepare(server, tmp_path, tally, kills, 37, "--workers", workers)
