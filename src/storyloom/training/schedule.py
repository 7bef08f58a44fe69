"""The learning rate of each update, as pure functions of step and progress."""

import math
from collections.abc import Callable

from storyloom.config import TrainConfig


def constant(x: float, decay_fraction: float) -> float:
    """Stays at the peak."""
    return 1.0


def linear(x: float, decay_fraction: float) -> float:
    """Falls in a straight line."""
    return 1.0 - x


def cosine(x: float, decay_fraction: float) -> float:
    """Falls along half a cosine (Loshchilov and Hutter, 2016, arXiv 1608.03983)."""
    return (1.0 + math.cos(math.pi * x)) / 2


def wsd(x: float, decay_fraction: float) -> float:
    """Stays at the peak, then falls in a straight line at the end (Hägele et al., 2024, arXiv 2405.18392)."""
    return min(1.0, (1.0 - x) / decay_fraction)


# Each takes the progress since the warm-up, from 0 to 1, to how much of the peak is left, from 1 to 0.
SCHEDULES: dict[str, Callable[[float, float], float]] = {
    "constant": constant,
    "linear": linear,
    "cosine": cosine,
    "wsd": wsd,
}


def learning_rate_at(step: int, progress: float, settings: TrainConfig) -> float:
    """The learning rate of an update.

    Args:
        step: number of the update, counted from 0; decides in the warm-up.
        progress: how much of the way since the warm-up lies behind it, from 0 to 1; decides afterwards.
        settings: of the training.

    >>> settings = TrainConfig(warmup_steps=2, learning_rate=1.0, schedule="linear")
    >>> [learning_rate_at(step, progress, settings) for step, progress in ((0, 0), (1, 0), (2, 0), (6, 0.5), (9, 1))]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    left = SCHEDULES[settings.schedule](progress, settings.decay_fraction)
    return settings.min_lr + (settings.learning_rate - settings.min_lr) * left
