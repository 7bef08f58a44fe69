"""What is to be found out for the preset `laptop`, and each run that it takes. Knows nothing of training.

An experiment is a question and its arms; an arm is the base with some settings changed, as `--set` takes them. The
base is the preset as it was before it took what was found; it stands in a file of its own, so that more can be asked.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from results import Row

from storyloom.errors import ConfigError, nearest

BASE_CONFIG = Path(__file__).with_name("ablation_base.toml")
BASE = "base"  # the experiment and the arm that the base itself is kept under

BASE_TOKENS = 3_600_000  # what the base sees in two minutes on two quiet AVX-512 cores, the training step compiled
# Settings that change what is learnt from a token and not, or hardly, what a token costs.
FREE = frozenset(
    {
        *("data.rows", "model.residual_init"),
        *("train.learning_rate", "train.schedule", "train.decay_fraction", "train.weight_decay", "train.ema"),
    }
)


@dataclass(frozen=True)
class Experiment:
    """One question to the base."""

    question: str
    base: str
    """What the base has."""
    arms: dict[str, tuple[str, ...]]
    """What it might have instead, as settings."""


EXPERIMENTS = {
    "optimizer": Experiment(
        "Which optimiser, at which learning rate? Muon moves the blocks' matrices only, AdamW the rest.",
        "muon at 4e-3",
        {
            **{f"muon at {rate}": (f"train.learning_rate={rate}",) for rate in ("2e-3", "6e-3", "8e-3")},
            **{
                f"adamw at {rate}": ("train.optimizer=adamw", f"train.learning_rate={rate}")
                for rate in ("2e-3", "4e-3", "6e-3", "8e-3")
            },
        },
    ),
    "vocabulary": Experiment(
        "How many entries? In a larger vocabulary a token is a longer piece of text: equal tokens are not equal text.",
        "2048",
        {"1024": ("data.vocab_size=1024",), "4096": ("data.vocab_size=4096",)},
    ),
    "shape": Experiment(
        "Wide or deep, and how large? Heads of 64 do not divide every width.",
        "4 x 192, heads of 64",
        {
            "6 x 160, heads of 32": ("model.n_layer=6", "model.n_embd=160", "model.n_head=5"),
            "4 x 256, heads of 64": ("model.n_embd=256", "model.n_head=4"),
        },
    ),
    "qk_norm": Experiment(
        "Are queries and keys to be normalised?",
        "on",
        {"off": ("model.qk_norm=false",)},
    ),
    "mlp": Experiment(
        "Which MLP, at equal work?",
        "swiglu, 8/3 C wide",
        {"relu2, 4 C wide": ("model.mlp=relu2",)},
    ),
    "batch": Experiment(
        "How many rows of 256 tokens in an update?",
        "16",
        {"8": ("train.grad_accum_steps=1",), "32": ("train.grad_accum_steps=4",)},
    ),
    "block": Experiment(
        "How long a window, at 4,096 tokens an update? Evaluation has the same window.",
        "256",
        {
            "128": ("model.block_size=128", "train.batch_size=16"),
            "512": ("model.block_size=512", "train.batch_size=4"),
        },
    ),
    "schedule": Experiment(
        "How is the learning rate to fall?",
        "wsd, falling over the last half",
        {
            "wsd, the last 0.7": ("train.decay_fraction=0.7",),
            "cosine": ("train.schedule=cosine",),
        },
    ),
    "rows": Experiment(
        "What does a row hold?",
        "packed: windows over the joined stories",
        {
            "aligned: windows that begin with a story": ("data.rows=aligned",),
            "padded: one story": ("data.rows=padded",),
        },
    ),
    "ema": Experiment(
        "Are averaged weights better than the last ones?",
        "the last ones",
        {"decay 0.99": ("train.ema=0.99",)},
    ),
    "weight_decay": Experiment(
        "How much weight decay?",
        "0.1",
        {rate: (f"train.weight_decay={rate}",) for rate in ("0.5", "1.0")},
    ),
    "dropout": Experiment(
        "Is dropout worth its noise?",
        "0",
        {"0.1": ("model.dropout=0.1",)},
    ),
    "initialisation": Experiment(
        "Is each branch to begin as nothing?",
        "as GPT-2's",
        {"projections that start at zero": ("model.residual_init=zero",)},
    ),
}


@dataclass(frozen=True)
class Round:
    """How many tokens each run sees, and which seeds it is repeated with."""

    tokens: int
    """Of the base."""
    paced: bool
    """Whether an arm sees as many as it can in the time that the base takes for its own, else as many as the base."""
    seeds: tuple[int, ...]

    @property
    def budget(self) -> str:
        """As it stands in the results.

        >>> Round(5_000, True, (1,)).budget
        '5,000 tokens x speed'
        """
        return f"{self.tokens:,} tokens" + " x speed" * self.paced

    def tokens_at(self, pace: float) -> int:
        """Tokens of an arm that trains `pace` times as fast as the base.

        >>> Round(5_000, True, (1,)).tokens_at(0.9), Round(5_000, False, (1,)).tokens_at(0.9)
        (4500, 5000)
        """
        return round(self.tokens * pace) if self.paced else self.tokens


ROUNDS = {
    "screen": Round(BASE_TOKENS, True, (1337,)),
    # The same seed gives arms with the same rows the same order of them, and those of one shape the same first weights.
    "confirm": Round(BASE_TOKENS, False, (1, 2, 3)),
}
CONFIRMED = 3  # arms that are run again, at most one of each experiment


@dataclass(frozen=True)
class Job:
    """One run: an arm, a seed, a budget."""

    experiment: str
    arm: str
    settings: tuple[str, ...]
    round: str
    seed: int

    def as_row(self) -> Row:
        """The beginning of its line in the results, which tells it from all others."""
        return {
            "experiment": self.experiment,
            "arm": self.arm,
            "settings": list(self.settings),
            "round": self.round,
            "budget": ROUNDS[self.round].budget,
            "seed": self.seed,
        }

    def found_in(self, rows: Iterable[Row]) -> Row | None:
        """Its line, where it is finished. An arm whose settings have changed since is another one."""
        mine = self.as_row().items()
        return next((row for row in rows if all(row.get(name) == value for name, value in mine)), None)


def costly(settings: Iterable[str]) -> list[str]:
    """Those that can change the cost of a token.

    >>> costly(["train.optimizer=adamw", "train.learning_rate=2e-3"])
    ['train.optimizer=adamw']
    """
    return [setting for setting in settings if setting.partition("=")[0] not in FREE]


def known_pace(settings: Iterable[str], rows: Iterable[Row]) -> float | None:
    """How many times as fast as the base an arm trains, in tokens/s; None until one of the same cost is measured."""
    if not (mine := costly(settings)):
        return 1.0
    return next((row["pace"] for row in rows if costly(row["settings"]) == mine), None)


Arm = tuple[str, str, tuple[str, ...]]  # experiment, name, settings
THE_BASE: Arm = (BASE, BASE, ())


def jobs_of(name: str, rows: Sequence[Row], named: Collection[str] = ()) -> list[Job]:
    """All runs of a round, in order, finished ones too; the base comes first with each seed.

    Args:
        name: `screen` has all arms; `confirm` the best of each experiment in the screen, and of those the best three.
        rows: the results so far.
        named: experiments, or single arms as `EXPERIMENT/ARM`; all where none is named.

    Returns:
        The runs; none to confirm where the screen has no base yet, or no arm.

    Raises:
        ConfigError: `named` names what there is not.
    """
    arms = [THE_BASE, *_named(named)]
    if name == "confirm":
        arms = _best(arms, rows)
    return [Job(*arm, name, seed) for seed in ROUNDS[name].seeds for arm in arms]


def _named(named: Collection[str]) -> list[Arm]:
    """The arms that are asked for."""
    arms = [(name, arm, settings) for name, e in EXPERIMENTS.items() for arm, settings in e.arms.items()]
    known = {name for experiment, arm, _ in arms for name in (experiment, f"{experiment}/{arm}")}
    for name in named:
        if name not in known:
            raise ConfigError(f"--arms {name!r} is no experiment and no arm that can be run: {nearest(name, known)}")
    return [arm for arm in arms if not named or {arm[0], f"{arm[0]}/{arm[1]}"} & set(named)]


def _best(arms: Sequence[Arm], rows: Sequence[Row]) -> list[Arm]:
    """What would change the preset most: the best arm of each experiment in the screen, of those the best few."""
    screened = {arm: bits for arm in arms if (bits := _screened(arm, rows)) is not None}
    best: dict[str, Arm] = {}
    for arm in sorted(screened, key=screened.__getitem__):
        best.setdefault(arm[0], arm)
    base = best.pop(BASE, None)
    return [base, *list(best.values())[:CONFIRMED]] if base and best else []


def _screened(arm: Arm, rows: Sequence[Row]) -> float | None:
    """The bits/byte of an arm in the screen; None where it has not been run, or diverged."""
    (seed,) = ROUNDS["screen"].seeds
    row = Job(*arm, "screen", seed).found_in(rows)
    return row.get("bits_per_byte") if row else None
