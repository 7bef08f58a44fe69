"""How a preparation goes: what a listener hears, and what stands on standard error."""

import io

import pytest

from storyloom.data import Progress, prepare, progress
from storyloom.data.progress import LiveLine, watched
from storyloom.errors import ConfigError


class Screen(io.StringIO):
    """Standard error, as a terminal or as a file."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self.isatty = lambda: is_terminal


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def show(monkeypatch, clock: Clock, *, is_terminal: bool, seconds: list[float]) -> str:
    """What is written when a step reports at these seconds from its start."""
    screen = Screen(is_terminal)
    monkeypatch.setattr("sys.stderr", screen)
    start = clock.now
    with LiveLine() as line:
        for second in seconds:
            clock.now = start + second
            line(Progress("reading the stories", int(second * 10)))
    return screen.getvalue()


def test_a_quick_step_says_nothing(monkeypatch, clock):
    assert show(monkeypatch, clock, is_terminal=True, seconds=[0, 0.5, 1.9]) == ""
    assert show(monkeypatch, clock, is_terminal=False, seconds=[0, 0.5, 1.9]) == ""


def test_on_a_terminal_one_line_renews_itself_and_goes(monkeypatch, clock):
    """`prepare` said nothing at all, for minutes."""
    shown = show(monkeypatch, clock, is_terminal=True, seconds=[0, 2, 2.1, 12.5])
    first, second = "reading the stories: 20, 2 s", "reading the stories: 125, 12 s"
    assert shown == f"\r{first}\r{second}\r{' ' * len(second)}\r"


def test_in_a_file_a_line_after_two_seconds_and_every_ten(monkeypatch, clock):
    shown = show(monkeypatch, clock, is_terminal=False, seconds=[0, 5, 10, 15, 19.9, 20, 33])
    assert shown.splitlines() == [f"reading the stories: {n}0, {n} s" for n in (5, 15, 33)]


def test_each_step_has_its_own_time(monkeypatch, clock):
    monkeypatch.setattr("sys.stderr", Screen(True))
    line = LiveLine()
    for step in ("reading", "encoding"):
        line(Progress(step, 0, 7))
        clock.now += 1.5
        line(Progress(step, 7, 7))
    assert not line._width


@pytest.mark.parametrize("stderr", [None, "closed"])
def test_a_closed_standard_error_is_no_trouble(monkeypatch, clock, stderr):
    screen = Screen(True)
    monkeypatch.setattr("sys.stderr", screen if stderr else None)
    line = LiveLine()
    screen.close()
    line._on_terminal = True
    for second in (0, 3, 6):
        clock.now += second
        line(Progress("reading", 3))
    line.__exit__()


def test_stories_are_counted_as_they_pass(clock):
    told: list[Progress] = []

    def slow():
        for n in range(5):
            clock.now += 0.15
            yield f"{n}"

    assert list(watched(slow(), told.append, "reading", 5)) == ["0", "1", "2", "3", "4"]
    assert [each.stories for each in told] == [2, 4, 5]


@pytest.mark.parametrize("tokenizer", ["bpe", "char"])
def test_a_listener_hears_of_every_step(tmp_path, tokenizer):
    told: list[Progress] = []
    made = prepare("storybook", out=tmp_path / "D", tokenizer=tokenizer, limit_mb=0.05, progress=told.append)
    counts = {split: made.manifest.side(split).stories for split in ("train", "val")}
    last = {each.step: (each.stories, each.of) for each in told}
    assert last.pop("reading the stories") == (sum(counts.values()), None)
    if tokenizer == "bpe":
        assert last.pop("learning the tokenizer's vocabulary, stories read") == (counts["train"], counts["train"])
    assert last == {
        "encoding the training stories": (counts["train"], counts["train"]),
        "encoding the validation stories": (counts["val"], counts["val"]),
    }


def test_nothing_is_said_unless_asked_for(tmp_path, capsys):
    prepare("storybook", out=tmp_path / "D", tokenizer="char", limit_mb=0.03)
    prepare("storybook", out=tmp_path / "E", tokenizer="char", limit_mb=0.03, progress=True)
    assert capsys.readouterr() == ("", "")
    with pytest.raises(ConfigError, match="progress is 3: give True, False, or a function"):
        prepare("storybook", out=tmp_path / "F", progress=3)  # pyright: ignore[reportArgumentType]
