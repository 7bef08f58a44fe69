"""Whatever is cut, flipped, missing or of the wrong type: one line that names the file, or the result as it was."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from typing import Any

import pytest

from .commands import COMMANDS
from .damages import damages
from .judging import Failure, judge
from .scene import FOLDERS, READERS, Scene

SAMPLE, SAMPLE_COMMANDS, MANY, MANY_COMMANDS = 23, 5, 5003, 307
Read = Callable[[Scene, str], Any]
# Shares of the folders in 5,000 damages.
SHARES = {"data": 0.25, "finished": 0.3, "stopped": 0.25, "model": 0.2}


def share(count: int, folder: str) -> int:
    return round(count * SHARES[folder] / sum(SHARES[name] for name in FOLDERS)) + 1


def usual_result(scene: Scene, folder: str, read: Read) -> str:
    """What is read from the whole folder."""
    result = repr(read(scene, folder))
    scene.restore()
    return result


def damage_all(scene: Scene, folder: str, count: int, seed: int, tally: Counter[str]) -> list[Failure]:
    """Damage a folder this often, and have each damage met by every reader whose turn it is."""
    readers = {name: reader for name, reader in READERS.items() if folder in reader.folders}
    usual = {name: usual_result(scene, folder, reader.read) for name, reader in readers.items()}
    found = []
    for number, (damage, after) in enumerate(islice(damages(scene.files[folder], seed), count)):
        tally[f"damages, {folder}"] += 1
        for name, reader in readers.items():
            if number % reader.every == 0:
                tally[f"read by {name}"] += 1
                found.append(judge(scene, folder, name, reader.read, damage, after, usual[name], tally))
    return [failure for failure in found if failure]


def damage_for_commands(
    scene: Scene, folder: str, count: int, seed: int, tally: Counter[str], capture: pytest.CaptureFixture[str]
) -> list[Failure]:
    """Damage a folder this often, and have each damage met by one command, each in its turn."""
    reads: dict[str, Read] = {
        name: partial(command.read, capture=capture) for name, command in COMMANDS.items() if folder in command.folders
    }
    usual = {name: usual_result(scene, folder, read) for name, read in reads.items()}
    found = []
    for name, (damage, after) in zip(cycle(reads), islice(damages(scene.files[folder], seed), count), strict=False):
        tally[f"damages, {folder}, for commands"] += 1
        tally[f"read by {name}"] += 1
        found.append(judge(scene, folder, name, reads[name], damage, after, usual[name], tally))
    return [failure for failure in found if failure]


def told_of(failures: list[Failure]) -> list[str]:
    return [f"{failure.kind}, {failure.damage.seed}: {failure.said}" for failure in failures if not failure.is_known]


@pytest.mark.parametrize("folder", FOLDERS)
def test_sample(scene, folder, tally, failures):
    found = damage_all(scene, folder, SAMPLE, 3, tally)
    failures.extend(found)
    assert told_of(found) == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("folder", FOLDERS)
def test_many(scene, folder, tally, failures):
    found = damage_all(scene, folder, share(MANY, folder), 5, tally)
    failures.extend(found)
    assert told_of(found) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_sample_of_commands(scene, folder, tally, failures, capsys):
    found = damage_for_commands(scene, folder, SAMPLE_COMMANDS, 7, tally, capsys)
    failures.extend(found)
    assert told_of(found) == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("folder", FOLDERS)
def test_many_for_commands(scene, folder, tally, failures, capsys):
    found = damage_for_commands(scene, folder, share(MANY_COMMANDS, folder), 11, tally, capsys)
    failures.extend(found)
    assert told_of(found) == []


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS)
def test_readers_give_the_same_twice(scene, folder):
    """Otherwise no result would tell of damage."""
    for name, reader in READERS.items():
        if folder in reader.folders:
            assert usual_result(scene, folder, reader.read) == usual_result(scene, folder, reader.read), name
