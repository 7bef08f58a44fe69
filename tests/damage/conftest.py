"""The folders to damage, and a count of all that was done to them."""

from collections import Counter
from collections.abc import Iterator

import pytest

from .judging import Failure
from .scene import Scene

TALLY = pytest.StashKey[Counter[str]]()
FAILURES = pytest.StashKey[list[Failure]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[TALLY], config.stash[FAILURES] = Counter(), []


@pytest.fixture(scope="session")
def tally(request: pytest.FixtureRequest) -> Counter[str]:
    """What was done, to be printed at the end."""
    return request.config.stash.setdefault(TALLY, Counter())


@pytest.fixture(scope="session")
def failures(request: pytest.FixtureRequest) -> list[Failure]:
    """All that went wrong, known or not."""
    return request.config.stash.setdefault(FAILURES, [])


@pytest.fixture(scope="session")
def whole_scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene(tmp_path_factory.mktemp("scene"))


@pytest.fixture
def scene(whole_scene: Scene) -> Iterator[Scene]:
    """Whole before and after a test."""
    whole_scene.restore()
    yield whole_scene
    whole_scene.restore()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    counts, failures = config.stash.get(TALLY, Counter()), config.stash.get(FAILURES, [])
    if counts:
        terminalreporter.section("damage")
        for name, count in sorted(counts.items()):
            terminalreporter.write_line(f"{count:6d} {name}")
    if failures:
        terminalreporter.section("damage that was not met as it should be")
        classes = Counter(failure.kind for failure in failures)
        for kind, count in classes.most_common():
            example = next(failure for failure in failures if failure.kind == kind)
            terminalreporter.write_line(f"{count:6d} {'known: ' if example.is_known else ''}{kind}")
            terminalreporter.write_line(f"       such as {example.damage}: {example.said}")
