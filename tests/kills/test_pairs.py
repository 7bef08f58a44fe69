"""Two commands write one folder at once: one does its work, the other says in one line why it cannot."""

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from storyloom.data import Data

from ..folders import tree
from ..training.conftest import what_was_computed
from .chains import check_readable, strays
from .processes import Command, Server

LONG = ["--set", "train.max_steps=31", "--set", "train.checkpoint_interval=3"]
PREPARE = ["prepare", "storybook", "--limit-mb", "0.3", "--tokenizer", "char", "--out"]


class World(NamedTuple):
    """What the pairs need."""

    server: Server
    train: list[object]  # the command that trains, without its folder
    stories: Path
    whole: Path  # what it gives
    begun: Path  # an unfinished run of it
    folder: Path  # of a pair


@pytest.fixture
def world(server, little, stories, tiny_file, tmp_path) -> World:
    train = ["train", "--data", little.path, "--config", tiny_file, *LONG, "--out"]
    command = server.run(*train, tmp_path / "whole")
    assert command.wait() == 0, command.said
    command = server.start(*train, tmp_path / "begun")
    assert command.stop_when((tmp_path / "begun" / "checkpoints" / "best").exists)
    command.signal(9)
    command.wait()
    return World(server, train, stories, tmp_path / "whole", tmp_path / "begun", tmp_path)


def collide(world: World, first: list[object], second: list[object], late: float) -> tuple[Command, Command]:
    """Start two commands at the same time, or the second a little later; returns both when they have ended."""
    gates = [world.folder / name for name in ("gate 1", "gate 2")]
    commands = [world.server.start(*words, gate=gate) for words, gate in zip((first, second), gates, strict=True)]
    gates[0].touch()
    time.sleep(late)
    gates[1].touch()
    for command in commands:
        command.wait()
    for gate in gates:
        gate.unlink()
    return commands[0], commands[1]


def one_of(first: Command, second: Command, named: Path) -> int:
    """Which of both has won, 0 or 1; the other one has said why it has not, and named the folder."""
    both = (first.wait(), first.said), (second.wait(), second.said)
    assert {status for status, _ in both} == {0, 2}, both
    lost = first if first.wait() == 2 else second
    assert str(named) in lost.refused()
    return int(lost is first)


def both_prepare(world: World, place: Path, late: float) -> None:
    one_of(*collide(world, [*PREPARE, place / "D"], [*PREPARE, place / "D"], late), named=place / "D")
    Data(place / "D")


def both_train(world: World, place: Path, late: float) -> None:
    one_of(*collide(world, [*world.train, place / "R"], [*world.train, place / "R"], late), named=place / "R")
    check_trained(world, place / "R")


def train_and_resume(world: World, place: Path, late: float) -> None:
    words = [*world.train, place / "R"]
    one_of(*collide(world, words, [*words, "--resume"], late), named=place / "R")
    check_trained(world, place / "R")


def both_resume(world: World, place: Path, late: float) -> None:
    shutil.copytree(world.begun, place / "R")
    words = [*world.train, place / "R", "--resume"]
    one_of(*collide(world, words, words, late), named=place / "R")
    check_trained(world, place / "R")


def train_and_prepare(world: World, place: Path, late: float) -> None:
    winner = one_of(*collide(world, [*world.train, place / "D"], [*PREPARE, place / "D"], late), named=place / "D")
    if winner == 0:
        check_trained(world, place / "D")
    else:
        Data(place / "D")


def both_train_on_a_text(world: World, place: Path, late: float) -> None:
    words = ["train", "--data", world.stories, *world.train[3:], place / "R", "--set", "data.vocab_size=283"]
    one_of(*collide(world, words, words, late), named=place / "R")
    check_readable(place / "R")
    Data(place / "R" / "data")


def train_on_a_text_and_prepare_its_data(world: World, place: Path, late: float) -> None:
    words = ["train", "--data", world.stories, *world.train[3:], place / "R", "--set", "data.vocab_size=283"]
    prepare = ["prepare", world.stories, "--vocab-size", "283", "--out", place / "R" / "data"]
    one_of(*collide(world, words, prepare, late), named=place / "R")
    Data(place / "R" / "data")


def both_report(world: World, place: Path, late: float) -> None:
    words = ["report", world.whole, "--out", place / "page.html"]
    for command in collide(world, words, words, late):
        assert command.wait() == 0, command.said
    page = (place / "page.html").read_bytes()
    world.server.run(*words)
    assert (place / "page.html").read_bytes() == page


def resume_and_report(world: World, place: Path, late: float) -> None:
    shutil.copytree(world.begun, place / "R")
    resume = [*world.train, place / "R", "--resume"]
    for command in collide(world, resume, ["report", place / "R"], late):
        assert command.wait() == 0, command.said
    assert (place / "R" / "report.html").read_bytes().rstrip().endswith(b"</html>")
    check_trained(world, place / "R")


def check_trained(world: World, run: Path) -> None:
    check_readable(run)
    assert what_was_computed(run) == what_was_computed(world.whole)


PAIRS: list[Callable[[World, Path, float], None]] = [
    *(both_prepare, both_train, train_and_resume, both_resume, train_and_prepare, both_train_on_a_text),
    *(train_on_a_text_and_prepare_its_data, resume_and_report),
]


def pair_up(world: World, pair: Callable[[World, Path, float], None], count: int, tally) -> None:
    dice = random.Random(47)
    for number in range(count):
        place = world.folder / f"{pair.__name__} {number}"
        place.mkdir()
        data = tree(world.stories.parent)
        pair(world, place, dice.choice([0.0, dice.uniform(0, 0.05), dice.uniform(0, 0.5)]))
        assert strays(place) == []
        assert tree(world.stories.parent) == data
        tally["pairs of writers"] += 1


@pytest.mark.parametrize("pair", [both_train])
def test_a_pair(world, pair, tally):
    """The sample of `make test`."""
    pair_up(world, pair, 1, tally)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("pair", "count"), [*((pair, 5) for pair in PAIRS), (both_report, 1)])
def test_pairs(world, pair, count, tally):
    pair_up(world, pair, count, tally)
