"""What a training would do: its plan, its memory and its minutes, without making a run of it."""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from storyloom.config import Config
from storyloom.data import Data, prepare
from storyloom.errors import RunError
from storyloom.model import count_parameters
from storyloom.runtime import Runtime
from storyloom.signals import exit_on_signals
from storyloom.training.process import only_training, process_as_found
from storyloom.training.request import Request
from storyloom.training.resolve import check_time, differences, resolve
from storyloom.training.state import checkpoint_of
from storyloom.training.trainer import Trainer

MEASURED_SECONDS = 5.0
WARM_UP = 2  # the first updates are slower: memory is still being laid out


@dataclass(frozen=True)
class DryRun:
    """What `dry_run` found. Times and memory are measured, the rest is counted."""

    config: Config
    """Fully resolved, as the run's `config.toml` would hold it."""
    parameters: int
    tokens_per_update: int
    """Targets, if all rows are full."""
    updates: int
    """In all; under `train.minutes` as many as fit at today's speed."""
    epochs: float
    """Passes over the training text."""
    minutes: float
    """Wall-clock time, evaluations included."""
    seconds_per_update: float
    """The median."""
    tokens_per_second: float
    memory_bytes: int | None
    """The most that this process has held: on a GPU in PyTorch's tensors there, else in all. None if nobody tells."""
    checkpoint_bytes: int
    """On the disk: `last`, with the optimizer state, and `best`."""
    device: str
    precision: str
    why_precision: str
    threads: int
    compile: bool
    notes: list[str]


def dry_run(
    data: Data | str | os.PathLike[str] | None = None,
    *,
    preset: str | None = None,
    config: str | os.PathLike[str] | None = None,
    settings: Sequence[str] = (),
    minutes: float | None = None,
    init: str | os.PathLike[str] | None = None,
    device: str | None = None,
) -> DryRun:
    """Find out what `train` would do with the same arguments: a few updates are measured on throwaway state.

    A text is prepared into a temporary folder. Nothing else is written, and nothing is left.

    Raises:
        As `train` does, before its first update.
    """
    started = time.perf_counter()
    request = Request(
        data,
        preset=preset,
        config=config,
        settings=settings,
        minutes=minutes,
        init=init,
        repeat=None,
        device=device,
    )
    with only_training(), process_as_found(), exit_on_signals(), ExitStack() as held:
        asked = request.resolve()
        opened = request.opened
        if opened is None:
            raise RunError("no data to train on: name a data folder, or a text file of stories")
        if not isinstance(opened, Data):
            folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
            opened = prepare(opened, out=folder / "data", preset=asked.data)
            started = time.perf_counter()
        notes = differences(asked, opened, request.settings)
        resolved, runtime, compiled = resolve(request, asked, opened, notes)
        trainer = Trainer(resolved, opened, runtime, compiled)
        if resolved.train.minutes is not None:
            check_time(resolved.train.minutes, trainer, opened, started)
        return _measured(trainer, resolved, runtime, started, notes)


def _measured(trainer: Trainer, config: Config, runtime: Runtime, started: float, notes: list[str]) -> DryRun:
    settings, tokens_to_evaluate = config.train, trainer.data.manifest.val.tokens
    getting_ready = time.perf_counter() - started
    pace = _seconds_per_update(trainer)
    final = trainer.seconds_to_evaluate(tokens_to_evaluate)
    evaluation = final * trainer.eval_tokens / tokens_to_evaluate
    per_update = pace + evaluation / settings.eval_interval
    updates = settings.max_steps
    if settings.minutes is not None:
        fitting = max(1, int((settings.minutes * 60 - getting_ready - final - evaluation) / per_update))
        updates = fitting if updates is None else min(updates, fitting)
    assert updates is not None, "a run has an end"
    rows = settings.batch_size * settings.micro_batches
    tokens = rows * config.model.block_size
    checkpoint = checkpoint_of(trainer)
    weights = sum(tensor.nbytes for tensor in checkpoint.weights.values())
    state = sum(tensor.nbytes for tensor in checkpoint.tensors.values())
    return DryRun(
        config=config,
        parameters=count_parameters(config.model),
        tokens_per_update=tokens,
        updates=updates,
        epochs=updates * rows / trainer.batches.rows_per_epoch,
        minutes=(getting_ready + updates * per_update + evaluation + final) / 60,
        seconds_per_update=pace,
        tokens_per_second=tokens / pace,
        memory_bytes=_most_memory(runtime),
        checkpoint_bytes=2 * weights + state,
        device=str(runtime.device),
        precision=runtime.precision,
        why_precision=runtime.why_precision,
        threads=runtime.threads,
        compile=runtime.compile,
        notes=notes,
    )


def _seconds_per_update(trainer: Trainer) -> float:
    """The median of a few seconds of updates; of a large model, whose update takes that long, of one."""
    times: list[float] = []
    began = time.perf_counter()
    while len(times) <= WARM_UP or time.perf_counter() - began < MEASURED_SECONDS:
        start = time.perf_counter()
        trainer.update()
        times.append(time.perf_counter() - start)
        if times[-1] >= MEASURED_SECONDS:
            return times[-1]
    return median(times[WARM_UP:])


def _most_memory(runtime: Runtime) -> int | None:
    if runtime.device.type == "cuda":
        return torch.cuda.max_memory_allocated(runtime.device)
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
