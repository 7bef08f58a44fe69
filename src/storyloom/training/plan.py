"""How many updates a run makes, and how far it has come. Knows no clock: `deadline.py` plans by one.

Schedules are functions of progress, which is 0 until the warm-up is over, grows with every update, and is 1 at the end.
A run whose length is known from the start has one plan. One that must end at a time plans again as it goes: progress is
continued from where it is, so that it never jumps or falls, and with it the learning rate never rises once it falls.
"""

import math
from dataclasses import dataclass
from statistics import fmean
from typing import Self

from storyloom.config import Config
from storyloom.data import Batches, Data
from storyloom.data.dataset import ROWS

MEASURED_ROWS = 10_000  # at most this many, spread evenly, say how many tokens a row holds


@dataclass(frozen=True)
class Plan:
    """From here to the end.

    >>> plan = Plan.whole(10, warmup_steps=2)
    >>> [plan.progress_at(step) for step in (0, 2, 6, 10)]
    [0.0, 0.0, 0.5, 1.0]
    >>> shorter = plan.changed(step=6, updates=2, warmup_steps=2)
    >>> [shorter.progress_at(step) for step in (6, 7, 8)]
    [0.5, 0.75, 1.0]
    """

    begin: int
    """The update after which progress grows."""
    end: int | None
    """Updates in all; None while nobody knows, and progress stays where it is."""
    progress: float
    """At `begin`."""

    @classmethod
    def whole(cls, updates: int | None, warmup_steps: int) -> Self:
        """The plan of a run that has not begun."""
        return cls(warmup_steps, updates, 0.0)

    def changed(self, step: int, updates: int, warmup_steps: int) -> Self:
        """The plan made after `step` updates, with `updates` to go: progress p grows by (1 - p) / updates each."""
        return type(self)(max(step, warmup_steps), step + updates, self.progress_at(step))

    def progress_at(self, step: int) -> float:
        """How much of the way lies behind after `step` updates, from 0 to 1."""
        if self.end is None or step <= self.begin:
            return self.progress
        share = min(1.0, (step - self.begin) / max(1, self.end - self.begin))
        return self.progress + (1.0 - self.progress) * share


def counted_limits(config: Config, data: Data) -> dict[str, int]:
    """Each limit that needs no clock, by its setting, in updates."""
    settings = config.train
    rows_per_step = settings.batch_size * settings.micro_batches
    limits = {}
    if settings.max_steps is not None:
        limits["max_steps"] = settings.max_steps
    if settings.max_epochs is not None:
        limits["max_epochs"] = max(1, round(settings.max_epochs * _rows_per_epoch(config, data) / rows_per_step))
    if settings.max_tokens is not None:
        limits["max_tokens"] = max(1, math.floor(settings.max_tokens / (rows_per_step * _tokens_per_row(config, data))))
    return limits


def _rows_per_epoch(config: Config, data: Data) -> int:
    block_size, seed = config.model.block_size, config.train.seed
    return Batches(data, rows=config.data.rows, batch_size=1, block_size=block_size, seed=seed).rows_per_epoch


def _tokens_per_row(config: Config, data: Data) -> float:
    """Targets in a row, the mean over an epoch: a padded row has only those of its story."""
    rows = ROWS[config.data.rows](data.tokens("train"), data.tokenizer.eot, config.model.block_size)
    spread = range(0, len(rows), -(-len(rows) // MEASURED_ROWS))
    return fmean(end - start - 1 for start, end in map(rows.bounds, spread))
