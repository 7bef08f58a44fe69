"""Whatever is cut, flipped, missing or of the wrong type in a folder: one line and the file, or the result as it was."""

from collections import Counter
from itertools import islice

import pytest

from .damages import damages
from .judging import Failure, judge
from .scene import COMMANDS, FOLDERS, READERS, Scene, said_by

SAMPLE, MANY, MANY_COMMANDS = 19, 5003, 307
# Shares of the folders in 5,000 damages.
SHARES = {"data": 0.2, "finished": 0.3, "stopped": 0.35, "model": 0.15}


def share(count: int, folder: str) -> int:
    return round(count * SHARES[folder] / sum(SHARES[name] for name in FOLDERS)) + 1


def damage_all(scene: Scene, folder: str, count: int, seed: int, tally: Counter[str]) -> list[Failure]:
    """Damage a folder this often, and have each damage met by every reader whose turn it is."""
    readers = {name: reader for name, reader in READERS.items() if folder in reader.folders}
    usual = {}
    for name, reader in readers.items():
        usual[name] = repr(reader.read(scene, folder))
        scene.restore()
        assert repr(reader.read(scene, folder)) == usual[name], f"{name} does not give the same twice"
        scene.restore()
    found = []
    for number, (damage, after) in enumerate(islice(damages(scene.files[folder], seed), count)):
        tally[f"damages, {folder}"] += 1
        for name, reader in readers.items():
            if number % reader.every == 0:
                found.append(judge(scene, folder, name, reader.read, damage, after, usual[name], tally))
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
