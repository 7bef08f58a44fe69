"""The whole way in minutes, offline: storybook, tokenizer, training, the exact limit, each strategy, a plot."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from storyloom import storybook
from storyloom.data import Data, prepare
from storyloom.errors import ConfigError, RunError
from storyloom.files import is_vacant
from storyloom.generation import STRATEGIES, StoryTeller, load
from storyloom.reporting import plot_losses
from storyloom.runs import Run
from storyloom.runs.rows import FinalRow
from storyloom.training import train

PRESET = "tiny"
PROMPT = ""
CHECKED_STORIES = 100


@dataclass(frozen=True)
class Demo:
    """What the demo made and found."""

    run: Run
    figures: FinalRow
    """The final evaluation, with the limit and the gap to it."""
    stories: dict[str, str]
    """A story by each strategy."""
    share_parsed: float
    """How many of the sampled stories the grammar can read from beginning to end, from 0 to 1."""
    departures: list[str]
    """Where the others leave the grammar."""
    plot: Path


def run_demo(
    out: str | os.PathLike[str], minutes: float = 2.0, say: Callable[[str], None] = print, progress: bool = True
) -> Demo:
    """Go the whole way once.

    Args:
        out: the folder to make, with `data` and `run` in it.
        minutes: of training, evaluations included.
        say: is told each chapter's heading.
        progress: write a live line to standard error while training.

    Raises:
        RunError: `out` exists already.
        ConfigError: the minutes are not above 0, or too few here; `out` is not made.
    """
    folder = Path(out)
    if not is_vacant(folder):
        raise RunError(f"{folder} exists already: choose another `out`, or remove it first")
    if not 0 < minutes < float("inf"):
        raise ConfigError(f"`minutes` = {minutes:g} must be above 0 and finite: for example `minutes` = 2")
    say("1. The storybook tells stories whose probabilities are known exactly; a tokenizer learns their words.")
    data = prepare("storybook", out=folder / "data", preset=PRESET)
    say(_describe(data))
    say(f"2. A GPT (preset {PRESET}) learns to tell them, for {minutes:g} minutes.")
    try:
        run = train(data, out=folder / "run", preset=PRESET, minutes=minutes, progress=progress)
    except BaseException:  # too few minutes, which only a probe can tell, or Ctrl-C
        if not (folder / "run" / "config.toml").is_file():  # nothing to continue: leave the place free for another try
            shutil.rmtree(folder)
        raise
    assert run.figures is not None, "it is finished"
    teller = load(run.path)
    say("3. It tells stories, and the grammar reads them.")
    stories = {name: teller.tell(PROMPT, strategy=name, seed=seed) for seed, name in enumerate(STRATEGIES)}
    share, departures = check_grammar(teller)
    return Demo(run, run.figures, stories, share, departures, plot_losses(run))


def check_grammar(teller: StoryTeller, count: int = CHECKED_STORIES, seed: int = 2) -> tuple[float, list[str]]:
    """How many stories, told by the default strategy, the storybook can read, and where the others leave it.

    Args:
        teller: a model trained on the storybook.
        count: of stories.
        seed: of the telling.

    Returns:
        The share that parses from beginning to end, from 0 to 1, and a sentence for each other story.
    """
    stories = teller.tell_all(PROMPT, num_stories=count, seed=seed)
    readings = [storybook.parse(story) for story in stories]
    departures = [reading for reading in readings if isinstance(reading, storybook.Departure)]
    return 1 - len(departures) / count, [_explain(departure) for departure in departures]


def _explain(departure: storybook.Departure) -> str:
    expected = " | ".join(repr(text) for text in departure.expected[:3])
    return f"at character {departure.position}: expected {expected}, found {departure.found!r}"


def _describe(data: Data) -> str:
    train_split, val = data.manifest.train, data.manifest.val
    return (
        f"   {train_split.stories:,} stories to learn from, {val.stories:,} to be judged by; "
        f"{train_split.bytes / 1e6:.1f} MB as {train_split.tokens / 1e6:.1f}M tokens of a vocabulary of "
        f"{data.tokenizer.vocab_size:,}"
    )
