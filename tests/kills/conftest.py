"""A server of commands, small data, and a count of all that was done to them."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from storyloom.data import Data, prepare

from .processes import Server, serving

TALLY = pytest.StashKey[Counter[str]]()
STORIES = 67

collect_ignore_glob = ["test_*.py"] if not hasattr(os, "fork") else []  # Windows ends processes otherwise


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TALLY] = Counter()


@pytest.fixture(scope="session")
def tally(request: pytest.FixtureRequest) -> Counter[str]:
    """What was done, to be printed at the end."""
    return request.config.stash.setdefault(TALLY, Counter())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    counts = config.stash.get(TALLY, Counter())
    if counts:
        terminalreporter.section("kills, pairs and disks")
        for name, count in sorted(counts.items()):
            terminalreporter.write_line(f"{count:5d} {name}")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("said")) as running:
        yield running


@pytest.fixture(scope="session")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of short stories."""
    path = tmp_path_factory.mktemp("stories") / "a.txt"
    told = (f"Zoë had {n} hats.{' Then she ran.' * (n % 7)}\nTim took {n * n % 11}." for n in range(STORIES))
    path.write_text("\n<|endoftext|>\n".join(told), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def little(stories: Path) -> Data:
    """These stories, prepared; read only."""
    return prepare(stories, out=stories.parent / "D", vocab_size=283, val_fraction=0.15)
