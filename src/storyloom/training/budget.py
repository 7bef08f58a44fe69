"""From limits in steps, epochs, tokens and minutes to one number of updates, fixed before the first of them."""

import math
import time
from statistics import median

from storyloom.config import Config, TrainConfig
from storyloom.data import Data
from storyloom.errors import ConfigError
from storyloom.runtime import Runtime
from storyloom.training.trainer import Trainer

PROBE_SECONDS = 3.0
PROBE_STEPS = 5
PROBE_WARMUP = 10  # the first updates are slower: memory is still being laid out
UNKNOWN_STEPS = 1_000_000  # while probing; decides nothing but the probe's learning rate


def choose_max_steps(config: Config, data: Data, runtime: Runtime, minutes: float | None, started: float) -> int:
    """The smallest of all limits, in updates.

    Args:
        config: with `model.vocab_size`.
        data, runtime: what and where to train.
        minutes: wall-clock time for everything from `started` on, the final evaluation included.
        started: `time.perf_counter()` at the start.

    Raises:
        ConfigError: there is no limit, or the minutes do not suffice for one update.
    """
    settings = config.train
    limits = []
    probed = config.with_(train=settings.with_(max_steps=settings.max_steps or UNKNOWN_STEPS))
    trainer = Trainer(probed, data, runtime)  # thrown away: a probe must leave no trace in the run
    rows_per_step = settings.batch_size * settings.grad_accum_steps
    if settings.max_steps is not None:
        limits.append(settings.max_steps)
    if settings.max_epochs is not None:
        limits.append(max(1, round(settings.max_epochs * trainer.batches.rows_per_epoch / rows_per_step)))
    if settings.max_tokens is not None:
        limits.append(max(1, settings.max_tokens // (rows_per_step * config.model.block_size)))
    if minutes is not None:
        limits.append(_steps_within(minutes * 60, trainer, settings, data, started))
    if not limits:
        raise ConfigError("training has no end: give --minutes, or one of train.max_steps, max_epochs, max_tokens")
    return min(limits)


def _steps_within(seconds: float, trainer: Trainer, settings: TrainConfig, data: Data, started: float) -> int:
    """Updates that fit into the time left, when evaluations and samples on the way and the end are counted in."""
    step = _step_seconds(trainer)
    sample = _seconds(trainer.sample)
    evaluation = _seconds(trainer.evaluate)
    final = evaluation * data.manifest["val"]["stories"] / len(trainer.eval_stories)
    left = seconds - (time.perf_counter() - started) - final - evaluation
    steps = math.floor(left / (step + evaluation / settings.eval_interval + sample / settings.sample_interval))
    if steps < 1:
        needed = (seconds - left + step) / 60
        raise ConfigError(
            f"--minutes {seconds / 60:g} is too little: probing, one update and the evaluations take about "
            f"{needed:.2g} minutes here; allow more, or lower train.eval_stories"
        )
    return steps


def _step_seconds(trainer: Trainer) -> float:
    """The median time of an update, over a few seconds."""
    for _ in range(PROBE_WARMUP):
        trainer.update()
    times: list[float] = []
    while len(times) < PROBE_STEPS or sum(times) < PROBE_SECONDS:
        times.append(_seconds(trainer.update))
    return median(times)


def _seconds(action: object) -> float:
    assert callable(action)
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
