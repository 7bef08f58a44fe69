import functools
import subprocess
import sys

import pytest

import storyloom
from storyloom import demo, storybook
from storyloom.errors import ConfigError, RunError
from storyloom.files import is_vacant
from storyloom.generation import STRATEGIES, StoryTeller
from storyloom.runs import Run
from storyloom.training import train

SMALL = ["train.max_steps=5", "model.n_layer=1", "model.n_embd=32", "model.block_size=37", "train.batch_size=3"]


class Brief(StoryTeller):
    """Tells the beginnings of stories only."""

    def steps(self, prompt="", **options):
        return super().steps(prompt, **{**options, "max_new_tokens": 13})


class Fixed:
    """Tells the same stories whatever it is asked."""

    def __init__(self, stories):
        self.stories = stories

    def tell_all(self, prompt, *, num_stories, seed):
        assert num_stories == len(self.stories)
        return self.stories


@pytest.fixture
def small(monkeypatch):
    """The demo with little text, a tiny model and short stories."""

    def train_briefly(data, *, out, preset, minutes, progress):
        return train(data, out=out, preset=preset, settings=SMALL, progress=progress)

    def load_brief(path):
        teller = load(path)
        return Brief(teller.model, teller.tokenizer)

    load = demo.load
    monkeypatch.setattr(demo, "prepare", functools.partial(demo.prepare, limit_mb=0.05, vocab_size=307))
    monkeypatch.setattr(demo, "train", train_briefly)
    monkeypatch.setattr(demo, "load", load_brief)
    monkeypatch.setattr(demo, "CHECKED_STORIES", 7)


def test_goes_the_whole_way(small, tmp_path):
    said = []
    result = demo.run_demo(tmp_path / "X", 0.5, say=said.append, progress=False)
    assert [line[:2] for line in said] == ["1.", "  ", "2.", "3."]
    assert "for 0.5 minutes" in said[2]
    teller = storyloom.load(result.run.path)
    told = {name: teller.tell("", strategy=name, seed=seed, max_new_tokens=13) for seed, name in enumerate(STRATEGIES)}
    assert result.stories == told
    assert result.run.path == tmp_path / "X" / "run"
    assert result.plot == tmp_path / "X" / "run" / "loss.png"
    assert result.plot.is_file()
    gap = result.figures.bits_per_byte - result.figures.limit_bits_per_byte
    assert result.figures.gap_bits_per_byte == pytest.approx(gap)
    assert gap > 0
    assert result.share_parsed == 0  # five steps teach nobody to tell


def test_an_out_that_exists_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(RunError, match="exists already"):
        demo.run_demo(tmp_path, say=lambda text: None)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_impossible_minutes_are_refused_before_anything_is_made(tmp_path, minutes):
    with pytest.raises(ConfigError, match="above 0 and finite"):
        demo.run_demo(tmp_path / "X", minutes, say=lambda text: None)
    assert not (tmp_path / "X").exists()


@pytest.mark.parametrize("is_a_run", [False, True])
def test_what_is_interrupted_is_kept_only_where_it_can_be_gone_on_with(small, tmp_path, monkeypatch, is_a_run):
    def interrupt(data, *, out, **_):
        if is_a_run:
            out.mkdir()
            (out / "config.toml").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "train", interrupt)
    with pytest.raises(KeyboardInterrupt):
        demo.run_demo(tmp_path / "X", 0.5, say=lambda _: None, progress=False)
    assert (tmp_path / "X").exists() == is_a_run


def test_too_few_minutes_leave_the_place_free_for_another_try(small, tmp_path, monkeypatch):
    """The data of the first try was in the way of the second."""

    def refuse(*arguments, **options):
        raise ConfigError("too little")

    monkeypatch.setattr(demo, "train", refuse)
    with pytest.raises(ConfigError, match="too little"):
        demo.run_demo(tmp_path / "X", say=lambda text: None)
    assert is_vacant(tmp_path / "X")


def test_the_grammar_reads_the_stories():
    good = [storybook.tell(3, index).text for index in range(3)]
    share, departures = demo.check_grammar(Fixed([*good, "Once a xylophone", good[0] + " More."]), count=5)
    assert share == pytest.approx(3 / 5)
    assert len(departures) == 2
    assert departures[0].startswith("at character ")
    assert "expected '" in departures[0]
    assert departures[1].startswith(f"at character {len(good[0])}: ")
    assert departures[1].endswith("found ' More.'")


def test_all_stories_may_be_good():
    assert demo.check_grammar(Fixed([storybook.tell(5, 2).text]), count=1) == (1.0, [])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_of_the_readme_ends_in_its_time_and_near_the_limit(tmp_path):
    """As `make demo` runs it: no test ever did, and its two minutes took four beside another program."""
    command = [sys.executable, "-c", "from storyloom.cli import main; main()", "demo", "--out", str(tmp_path / "X")]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8").stdout
    final = Run(tmp_path / "X" / "run").figures
    assert 0.9 * 2 <= final.minutes <= 1.05 * 2
    assert final.gap_bits_per_byte < 0.06
    assert "of the sampled stories follow the grammar to the end" in shown
    assert (tmp_path / "X" / "run" / "loss.png").is_file()
