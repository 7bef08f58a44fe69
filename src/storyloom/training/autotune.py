"""What is tried out on the machine before the first update: micro-batches, threads, and whether compiling pays.

Two ways are tried in turns until the answer is clear or a limit is reached; then the default stays. So another program
that takes the machine for a moment decides nothing. Probes run on throwaway state and leave no trace in the run.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import TypeVar

import torch

from storyloom.config import Config
from storyloom.data import Data
from storyloom.errors import ConfigError
from storyloom.runtime import Runtime
from storyloom.runtime.device import has_compiler
from storyloom.training.compiled import CompiledStep
from storyloom.training.trainer import Trainer

COMPARING_SECONDS = 10.0  # until then the answer must be clear
LEAD = 5  # turns won more than lost: by chance, of two equals, one in 32 for the first five
WARM_UP = 2  # the first updates are slower: memory is still being laid out
LONG_ENOUGH = 150.0  # seconds of training; compiling takes about 20 of them the first time, 2 afterwards
WORTH_CHANGING = 0.97  # of the time that the other way takes
WORTH_COMPILING = 0.9

Candidate = TypeVar("Candidate")


def is_faster(
    candidate: Callable[[], object], other: Callable[[], object], share: float, seconds: float = COMPARING_SECONDS
) -> bool:
    """Whether an action clearly takes at most a share of another one's time; both are run in turns.

    Args:
        candidate: must win `LEAD` turns more than it loses.
        other: stays where the answer is not clear.
        share: of the other's time, for a turn to be won.
        seconds: after which an answer that is not clear is no; at least one turn is taken.
    """
    started, lead = time.perf_counter(), 0
    for _ in range(WARM_UP):
        candidate()
        other()
    while abs(lead) < LEAD:
        lead += 1 if _seconds(candidate) <= share * _seconds(other) else -1
        if time.perf_counter() - started > seconds:
            break
    return lead >= LEAD


def fit_to_machine(config: Config, data: Data, runtime: Runtime) -> tuple[Config, Runtime]:
    """Settle `grad_accum_steps = "auto"` and `threads = "auto"`, by eager updates of each candidate.

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
        config = _last_faster(splits, lambda split: _eager_update(split, data, runtime))
    if config.train.threads == "auto" and runtime.device.type == "cpu":
        halved = [replace(runtime, threads=runtime.threads >> times) for times in range(runtime.threads.bit_length())]
        runtime = _last_faster(halved, lambda candidate: _eager_update(config, data, candidate))
    torch.set_num_threads(runtime.threads)
    return config, runtime


def _last_faster(candidates: Sequence[Candidate], update_of: Callable[[Candidate], Callable[[], object]]) -> Candidate:
    """The first of them, or one that follows for as long as each is clearly faster than the one before."""
    best, update = candidates[0], None
    for candidate in candidates[1:]:
        update = update or update_of(best)
        tried = update_of(candidate)
        if not is_faster(tried, update, WORTH_CHANGING):
            break
        best, update = candidate, tried
    return best


def _eager_update(config: Config, data: Data, runtime: Runtime) -> Callable[[], object]:
    """An update that sets the threads that it is to be made with."""
    trainer = Trainer(config, data, replace(runtime, compile=False))

    def update() -> None:
        torch.set_num_threads(runtime.threads)
        trainer.update()

    return update


def decides_to_compile(
    config: Config, data: Data, runtime: Runtime, compiled: CompiledStep, updates: int | None
) -> bool:
    """Settle `compile`: as it is set, or by itself where a run is long and a compiled update clearly faster.

    Args:
        config: of the run, with `model.vocab_size`.
        data, runtime: what and where to train.
        compiled: keeps what is compiled, for the run.
        updates: that the run makes at most; None where only its minutes are limited.

    Raises:
        ConfigError: compiling fails though it is asked for.
    """
    if config.train.compile is True:
        compiled_trainer(config, data, runtime, compiled)
        return True
    minutes = config.train.minutes
    is_short = minutes is not None and minutes * 60 < LONG_ENOUGH
    if config.train.compile is False or is_short or not has_compiler(runtime.device):
        return False
    eager = Trainer(config, data, replace(runtime, compile=False))
    eager.update()
    if updates is not None and updates * min(_seconds(eager.update) for _ in range(3)) < LONG_ENOUGH:
        return False
    try:
        trainer = compiled_trainer(config, data, runtime, compiled)
    except ConfigError:  # a compiler that fails is not worth it
        return False
    return is_faster(trainer.update, eager.update, WORTH_COMPILING)


def compiled_trainer(config: Config, data: Data, runtime: Runtime, compiled: CompiledStep) -> Trainer:
    """A trainer whose step is compiled, by an update.

    Raises:
        ConfigError: compiling fails.
    """
    trainer = Trainer(config, data, replace(runtime, compile=True), compiled)
    try:
        trainer.update()
    except Exception as error:  # a compiler fails in many ways
        if type(error).__module__.startswith("torch._"):
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise ConfigError(f"compiling the training step fails: {reason}; set train.compile = false") from None
        raise
    return trainer


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
