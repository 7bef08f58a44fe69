"""Who is compared: five published story models as their presets rebuild them, and ours. Knows nothing of training.

All read the same text and are measured on the same validation stories, but for the two on characters, which share one
megabyte of it and hold out a part of that.
"""

import hashlib
import json
import shlex
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from results import Row

from storyloom.config import DataConfig, load_preset
from storyloom.config.loading import preset_text
from storyloom.errors import ConfigError, nearest

OURS = "laptop"
RIVAL_ON_CHARACTERS, OURS_ON_CHARACTERS = "char-mini", "laptop-characters"
MINUTES_OF_OURS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)  # to see how soon it reaches what the others have published

PROMPT = "Once upon a time"
SEED = 7
NEW_TOKENS = {"char": 200}  # by tokenizer; a character is a quarter of another token
OTHER_NEW_TOKENS = 80

Decoding = Mapping[str, Mapping[str, float]]  # strategies with their options
FOUR: Decoding = {
    "greedy": {},
    "multinomial": {},
    "temperature": {"temperature": 0.8},
    "top-k": {"top_k": 50, "temperature": 0.7},
}
ALL: Decoding = {
    "top-p": {"top_p": 0.95, "temperature": 0.8},
    **FOUR,
    "min-p": {"min_p": 0.1, "temperature": 1.0},
    "beam": {"beams": 4},
}

# What makes ten minutes of these models minutes of training: there is time for a dozen updates or two, none for their
# warm-ups of 500 and 1,000, and 200 stories on the way take most of a minute.
FOR_LARGE_MODELS = {"train.warmup_steps": "1", "train.compile": "false", "train.eval_stories": "20"}


@dataclass(frozen=True)
class Contestant:
    """A system: its preset, with what is changed in it."""

    preset: str
    title: str
    decoding: Decoding
    """Its own ways to tell."""
    settings: tuple[str, ...] = ()
    data_of: str | None = None
    """Another preset whose data settings it takes."""
    own_split: bool = False
    """Whether its validation stories come from the training text."""
    differs: str | None = None
    """What was otherwise where its published loss was measured: text, tokens, hardware, kind of loss."""

    @property
    def data_preset(self) -> str:
        """The preset whose data settings it takes."""
        return self.data_of or self.preset


def as_settings(changes: Mapping[str, str]) -> tuple[str, ...]:
    """Changes as `--set` takes them."""
    return tuple(f"{name}={value}" for name, value in changes.items())


CONTESTANTS = {
    "gpt-2layer": Contestant(
        "gpt-2layer",
        "TinyStories GPT",
        FOUR,
        differs="10 epochs of 10M words of TinyStories with dropout on; hardware not told; a training loss",
    ),
    RIVAL_ON_CHARACTERS: Contestant(
        RIVAL_ON_CHARACTERS,
        "MiniGPT",
        {"multinomial": {}},
        own_split=True,
        differs="cleaned characters, the last tenth of one megabyte: compare it with the characters above only",
    ),
    "gpt2-small": Contestant(
        "gpt2-small",
        "Tiny Tales",
        {**FOUR, "beam": {"beams": 3}},
        settings=as_settings(FOR_LARGE_MODELS),
        differs="20 epochs of TinyStories with dropout on, about 6 hours, hardware not told; a training loss",
    ),
    "slm-30m": Contestant(
        "slm-30m",
        "Small Language Model",
        {"multinomial": {}},
        settings=as_settings(FOR_LARGE_MODELS),
        differs="TinyStories with a validation split of its own, 20,000 iterations; hardware not told; random windows",
    ),
    "gpt-5m": Contestant(
        "gpt-5m",
        "TinyStories LLM",
        {name: FOUR[name] for name in ("greedy", "temperature", "top-k")},
        differs="one file of about a thousand sentences; its tokens, not told, read as characters; a CPU or one GPU",
    ),
    OURS: Contestant(OURS, "storyloom", ALL),
    OURS_ON_CHARACTERS: Contestant(
        OURS,
        "storyloom on characters",
        ALL,
        data_of=RIVAL_ON_CHARACTERS,
        own_split=True,
    ),
}


@dataclass(frozen=True)
class Job:
    """A training of so many minutes."""

    name: str
    contestant: Contestant
    minutes: float

    def as_row(self) -> Row:
        """What tells its line from others: also what the presets say but for their comments."""
        contestant = self.contestant
        presets = [tomllib.loads(preset_text(name)) for name in (contestant.preset, contestant.data_preset)]
        return {
            "system": self.name,
            "preset": contestant.preset,
            "settings": list(contestant.settings),
            "data": contestant.data_preset,
            "presets": hashlib.sha256(json.dumps(presets, sort_keys=True).encode()).hexdigest()[:12],
            "minutes_asked": self.minutes,
        }

    def found_in(self, rows: Iterable[Row]) -> Row | None:
        """Its line, if it is finished."""
        mine = self.as_row()
        return next((row for row in rows if all(row.get(name) == value for name, value in mine.items())), None)

    def commands(self, text: str, val: str) -> list[str]:
        """What repeats it by hand."""
        contestant = self.contestant
        validation = [] if contestant.own_split else ["--val", val]
        changes = [word for setting in contestant.settings for word in ("--set", setting)]
        prepare = ["prepare", text, *validation, "--out", "DATA", "--preset", contestant.data_preset]
        train = ["train", "--data", "DATA", "--out", "RUN", "--preset", contestant.preset, *changes]
        minutes = ["--minutes", f"{self.minutes:g}"]
        return [shlex.join(["storyloom", *words]) for words in (prepare, [*train, *minutes])]


def data_settings(contestant: Contestant, text_bytes: int) -> DataConfig:
    """How its text is prepared: what makes no difference to the folder is left out, so that like folders are shared."""
    settings = load_preset(contestant.data_preset).data.with_(rows="packed")  # rows are cut in training
    is_all = settings.limit_mb is not None and settings.limit_mb * 1e6 >= text_bytes
    return settings.with_(limit_mb=None) if is_all else settings


def new_tokens(contestant: Contestant) -> int:
    """How much it tells."""
    return NEW_TOKENS.get(load_preset(contestant.data_preset).data.tokenizer, OTHER_NEW_TOKENS)


def tell_command(strategy: str, options: Mapping[str, float], tokens: int) -> str:
    """What tells a sample again.

    >>> tell_command("beam", {"beams": 3}, 80)
    "storyloom tell 'Once upon a time' --model RUN --strategy beam --beams 3 --max-new-tokens 80 --seed 7"
    """
    shaping = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", f"{value:g}")]
    extent = ["--max-new-tokens", str(tokens), "--seed", str(SEED)]
    return shlex.join(["storyloom", "tell", PROMPT, "--model", "RUN", "--strategy", strategy, *shaping, *extent])


def jobs_of(minutes: float, named: Collection[str] = ()) -> list[Job]:
    """Every system for these minutes, then ours for fewer and more; all, or those of the systems named.

    Raises:
        ConfigError: a name is no system's.
    """
    for name in named:
        if name not in CONTESTANTS:
            raise ConfigError(f"unknown system {name!r}: {nearest(name, CONTESTANTS)}")
    equal = [Job(name, contestant, minutes) for name, contestant in CONTESTANTS.items()]
    ladder = [Job(OURS, CONTESTANTS[OURS], other) for other in MINUTES_OF_OURS if other != minutes]
    return [job for job in (*equal, *ladder) if not named or job.name in named]
