"""What is fixed before the first update: micro-batches and threads, from limits in steps, epochs, tokens and minutes to
one number of updates, and whether compiling the training step pays for so many. Probes run on throwaway state and leave
no trace in the run.
"""

import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from statistics import fmean, median
from typing import TypeVar

import torch

from storyloom.config import Config
from storyloom.data import Data
from storyloom.data.dataset import ROWS
from storyloom.errors import ConfigError
from storyloom.runtime import Runtime, save_checkpoint
from storyloom.runtime.device import has_compiler
from storyloom.training.trainer import Trainer

PROBE_SECONDS = 3.0
PROBE_STEPS = 5
COMPARING_SECONDS = 10.0  # compiled and eager updates in turns, until the last one
PROBE_WARMUP = 10  # the first updates are slower: memory is still being laid out
MEASURED_ROWS = 10_000  # at most so many, spread evenly, say how many tokens a row holds
UNKNOWN_STEPS = 1_000_000  # while probing; decides nothing but the probe's learning rate
LONG_ENOUGH = 150.0  # seconds of training; compiling takes about 20 of them the first time, 2 afterwards
WORTH_CHANGING = 0.97  # of the time that the candidate before takes
WORTH_IT = 0.9  # a compiled update must take at most this share of an eager one's time

Candidate = TypeVar("Candidate")


@dataclass(frozen=True)
class Plan:
    """What `config.toml` keeps of the probes."""

    max_steps: int
    """Updates in all."""
    compile: bool
    """Whether the training step is compiled."""


def make_plan(
    config: Config, data: Data, runtime: Runtime, minutes: float | None, started: float, scratch: Path
) -> Plan:
    """Decide on the number of updates, the smallest of all limits, and on compilation.

    Args:
        config: with `model.vocab_size`.
        data, runtime: what and where to train.
        minutes: wall-clock time for everything from `started` on, the final evaluation included.
        started: `time.perf_counter()` at the start.
        scratch: a folder that does not exist; with minutes a checkpoint is saved there, timed and removed.

    Raises:
        ConfigError: there is no limit, the minutes do not suffice for one update, or compiling fails though asked for.
    """
    probed = config.with_(train=config.train.with_(max_steps=config.train.max_steps or UNKNOWN_STEPS))
    trainer = Trainer(probed, data, replace(runtime, compile=False))
    limits = _counted_limits(config, data, trainer)
    if not limits and minutes is None:
        raise ConfigError("training has no end: give --minutes, or one of train.max_steps, max_epochs, max_tokens")
    compiles = runtime.compile
    if config.train.compile == "auto" and has_compiler(runtime.device):
        compiles = _is_long(trainer, limits, minutes) and _is_worth_compiling(trainer, probed, data, runtime)
    if compiles:
        trainer = compiled_trainer(probed, data, runtime)
    if minutes is not None:
        limits.append(_steps_within(minutes * 60, trainer, data, started, scratch))
    return Plan(min(limits), compiles)


def fit_to_machine(config: Config, data: Data, runtime: Runtime) -> tuple[Config, Runtime]:
    """Settle `grad_accum_steps = "auto"` and `threads = "auto"`, by updates of each candidate.

    The rows of an update are split further, and the threads halved, for as long as that makes it faster. On a CPU the
    activations of a few rows stay in its cache; on a GPU all rows at once are nearly always best. Where two threads
    share a core, or a model is too small for all cores, fewer threads wait less for one another.
    """
    if config.train.grad_accum_steps == "auto":
        rows = config.train.batch_size
        splits = [
            config.with_(train=config.train.with_(batch_size=rows // parts, grad_accum_steps=parts))
            for parts in takewhile(lambda parts: rows % parts == 0, (1, 2, 4, 8))
        ]
        config = _last_faster(splits, lambda split: _fastest_update(split, data, runtime))
    if config.train.threads == "auto" and runtime.device.type == "cpu":
        halved = [replace(runtime, threads=runtime.threads >> times) for times in range(runtime.threads.bit_length())]
        runtime = _last_faster(halved, lambda candidate: _fastest_update(config, data, candidate))
    torch.set_num_threads(runtime.threads)
    return config, runtime


def _last_faster(candidates: Sequence[Candidate], seconds_of: Callable[[Candidate], float]) -> Candidate:
    """The first of them, or one that follows for as long as each is clearly faster than the one before."""
    best, least = candidates[0], math.inf
    for candidate in candidates:
        seconds = seconds_of(candidate)
        if seconds > WORTH_CHANGING * least:
            break
        best, least = candidate, seconds
    return best


def _fastest_update(config: Config, data: Data, runtime: Runtime) -> float:
    """Seconds of an eager update, once one has been made; leaves the threads that it was given."""
    torch.set_num_threads(runtime.threads)
    unlimited = config.with_(train=config.train.with_(max_steps=UNKNOWN_STEPS))
    trainer = Trainer(unlimited, data, replace(runtime, compile=False))
    trainer.update()  # memory is laid out
    return _fastest(trainer)


def _fastest(trainer: Trainer) -> float:
    """Seconds of the fastest of a few updates, for the first are slower; of large models only of one."""
    seconds = [_seconds(trainer.update)]
    while len(seconds) < PROBE_STEPS and sum(seconds) < PROBE_SECONDS:
        seconds.append(_seconds(trainer.update))
    return min(seconds)


def _counted_limits(config: Config, data: Data, trainer: Trainer) -> list[int]:
    """The limits that need no clock, in updates."""
    settings = config.train
    rows_per_step = settings.batch_size * settings.micro_batches
    limits = []
    if settings.max_steps is not None:
        limits.append(settings.max_steps)
    if settings.max_epochs is not None:
        limits.append(max(1, round(settings.max_epochs * trainer.batches.rows_per_epoch / rows_per_step)))
    if settings.max_tokens is not None:
        limits.append(max(1, math.floor(settings.max_tokens / (rows_per_step * _tokens_per_row(config, data)))))
    return limits


def _tokens_per_row(config: Config, data: Data) -> float:
    """Targets in a row, the mean over an epoch: a padded row has only those of its story."""
    rows = ROWS[config.data.rows](data.tokens("train"), data.tokenizer.eot, config.model.block_size)
    spread = range(0, len(rows), -(-len(rows) // MEASURED_ROWS))
    return fmean(end - start - 1 for start, end in map(rows.bounds, spread))


def _is_long(trainer: Trainer, limits: list[int], minutes: float | None) -> bool:
    """Whether an eager run would take long enough for compilation to pay."""
    if minutes is not None and minutes * 60 < LONG_ENOUGH:
        return False
    if not limits:
        return True
    return min(limits) * _fastest(trainer) >= LONG_ENOUGH


def _is_worth_compiling(eager: Trainer, config: Config, data: Data, runtime: Runtime) -> bool:
    """Whether a compiled update is the faster, in turns with an eager one; a compiler that fails is not worth it."""
    try:
        compiled = compiled_trainer(config, data, runtime)
    except ConfigError:
        return False
    ratios: list[float] = []
    started = time.perf_counter()
    while len(ratios) < 2 * PROBE_STEPS and time.perf_counter() - started < COMPARING_SECONDS:
        ratios.append(_seconds(compiled.update) / _seconds(eager.update))
    return median(ratios[len(ratios) // 2 :]) <= WORTH_IT  # the first half warms both up


def compiled_trainer(config: Config, data: Data, runtime: Runtime) -> Trainer:
    """A trainer whose step is compiled, by an update; what was compiled for it serves others of its shape too.

    Raises:
        ConfigError: compiling fails.
    """
    trainer = Trainer(config, data, replace(runtime, compile=True))
    try:
        trainer.update()
    except Exception as error:  # a compiler fails in many ways
        if type(error).__module__.startswith("torch._"):
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ConfigError(f"compiling the training step fails: {reason}; take --set train.compile=false") from None
        raise
    return trainer


def _steps_within(seconds: float, trainer: Trainer, data: Data, started: float, scratch: Path) -> int:
    """Updates that fit into the time left beside evaluations, samples and checkpoints on the way, and the end."""
    settings = trainer.settings
    step = _step_seconds(trainer)
    sample = _seconds(trainer.sample)
    evaluation = _seconds(trainer.evaluate)
    save = _save_seconds(trainer, scratch)
    final = evaluation * data.manifest["val"]["stories"] / len(trainer.eval_stories)
    left = seconds - (time.perf_counter() - started) - final - evaluation - save
    on_the_way = (evaluation + save) / settings.eval_interval + sample / settings.sample_interval
    steps = math.floor(left / (step + on_the_way + save / settings.checkpoint_interval))
    if steps < 1:
        needed = (seconds - left + step) / 60
        raise ConfigError(
            f"--minutes {seconds / 60:g} is too little: probing, one update and the evaluations take about "
            f"{needed:.2g} minutes here; allow more, or lower train.eval_stories"
        )
    return steps


def _save_seconds(trainer: Trainer, scratch: Path) -> float:
    """The time of a checkpoint, on the disk that is to hold the run's."""

    def save() -> None:
        save_checkpoint(scratch, trainer.checkpoint())

    try:
        return _seconds(save)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _step_seconds(trainer: Trainer) -> float:
    """The median time of an update, over a few seconds; of a large model, whose update takes that long, of one."""
    spent = 0.0
    for _ in range(PROBE_WARMUP):
        spent += _seconds(trainer.update)
        if spent >= PROBE_SECONDS:
            break
    times: list[float] = []
    while not times or sum(times) < PROBE_SECONDS:
        times.append(_seconds(trainer.update))
    return median(times)


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
