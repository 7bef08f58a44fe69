"""The stories on a page: those told on the way, and those told for it."""

from collections.abc import Sequence
from dataclasses import dataclass

from storyloom.evaluation import StrategyQuality, compare_strategies
from storyloom.generation import load, make_strategy
from storyloom.reporting.record import Record

MAX_NEW_TOKENS = 200  # of a story that is told for a page
SEED = 0  # of these stories, so that a page written again tells the same ones
FRAMES = 24  # of the film at most


@dataclass(frozen=True)
class Frame:
    """A story told on the way."""

    step: int
    tokens: int
    loss: float
    """The mean of the latest training losses, nats/token."""
    story: str


def film(record: Record, most: int = FRAMES) -> list[Frame]:
    """The stories told on the way; of many, some spread evenly from the first to the last."""
    samples, count = record.samples, len(record.samples)
    kept = samples if count <= most else [samples[i * (count - 1) // (most - 1)] for i in range(most)]
    return [Frame(row.step, record.tokens_at(row.step), record.training_loss_at(row.step), row.story) for row in kept]


def by_each_strategy(record: Record, checkpoint: str | None) -> Sequence[StrategyQuality]:
    """A story by each strategy; none before the first checkpoint."""
    if checkpoint is None:
        return []
    return compare_strategies(load(record.run.path, checkpoint), seed=SEED, max_new_tokens=MAX_NEW_TOKENS)


def by_default(record: Record) -> str | None:
    """A story by the default strategy, with the same seed for every run; None before the first checkpoint."""
    if record.checkpoint is None:
        return None
    return load(record.run.path, record.checkpoint).tell(seed=SEED, max_new_tokens=MAX_NEW_TOKENS)


def default_strategy() -> str:
    """What `by_default` takes, in words.

    >>> default_strategy()
    'temperature 0.8, top-p 0.95'
    """
    strategy = make_strategy()
    return f"temperature {strategy.temperature:g}, top-p {strategy.top_p:g}"
