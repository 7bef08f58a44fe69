"""The learning rate of each update, as pure functions of the step."""

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


def trapezoid(x: float, decay_fraction: float) -> float:
    """Stays at the peak, then falls in a straight line at the end (Hägele et al., 2024, arXiv 2405.18392)."""
    return min(1.0, (1.0 - x) / decay_fraction)


# Each takes the share of the way done since the warm-up, from 0 to 1, to how much of the peak is left, from 1 to 0.
SCHEDULES: dict[str, Callable[[float, float], float]] = {
    "constant": constant,
    "linear": linear,
    "cosine": cosine,
    "trapezoid": trapezoid,
}


def learning_rate_at(step: int, settings: TrainConfig) -> float:
    """The learning rate of update number `step`, counted from 0; `max_steps` must be set.

    >>> settings = TrainConfig(max_steps=10, warmup_steps=2, learning_rate=1.0, schedule="linear")
    >>> [learning_rate_at(step, settings) for step in (0, 1, 2, 6, 10)]
    [0.5, 1.0, 1.0, 0.5, 0.0]
    """
    assert settings.max_steps is not None, "the budget sets max_steps"
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    x = (step - settings.warmup_steps) / max(1, settings.max_steps - settings.warmup_steps)
    left = SCHEDULES[settings.schedule](min(x, 1.0), settings.decay_fraction)
    return settings.min_lr + (settings.learning_rate - settings.min_lr) * left
