"""What a checkpoint of a training holds, to and from: all that the next update depends on.

Tensors (`state.safetensors`), by name:
    optimizer.PARAMETER.KEY     the optimizer state, such as `optimizer.head.weight.exp_avg`
    random.cpu, random.cuda     the random generators, which dropout draws from
    raw.PARAMETER               the weights in training, where `model.safetensors` has their moving average
JSON (`state.json`): a `TrainingState`.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError
from torch import Tensor

from storyloom.errors import CheckpointError
from storyloom.runs import load_checkpoint
from storyloom.runs.checkpoint import Checkpoint
from storyloom.runs.layout import STATE, STATE_TENSORS
from storyloom.runs.rows import Amount, Mark, Natural
from storyloom.runs.weights import load_weights, model_weights
from storyloom.training.optimizer import optimizer_tensors, restore_optimizer
from storyloom.training.plan import Plan
from storyloom.training.trainer import Trainer
from storyloom.training.update import Update

GENERATORS = {"cuda": torch.cuda, "mps": torch.mps}  # of random numbers, beside the CPU's


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """Where a training stands, beside its tensors."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    step: Natural
    tokens: Natural
    plan: Plan
    place: tuple[Natural, Natural]
    """Epoch and row: where in the data the next update begins."""
    best: Amount | None
    """The lowest validation loss so far, nats/token; None before the first evaluation."""
    best_step: Natural
    waited: Natural
    """Evaluations since then."""
    scaler: dict[str, float | int]
    """Of fp16's gradient scaler; empty in other precisions."""
    elapsed: Amount = 0.0
    """Seconds of the run."""
    seconds: Amount = 0.0
    """Of all updates."""
    since_row: tuple[tuple[Update, Amount], ...] = ()
    """Updates, and their seconds, that no row tells of yet."""
    logs: dict[str, Mark]
    """How much of each log this checkpoint vouches for."""


_STATE = TypeAdapter(TrainingState)


def checkpoint_of(trainer: Trainer, logs: Mapping[str, Mark] | None = None, **loop: Any) -> Checkpoint:
    """Everything that the next update depends on.

    Args:
        trainer: between two updates.
        logs: the marks of the run's logs; none before the first row.
        loop: what the loop adds: `elapsed`, `seconds`, `since_row`.
    """
    tensors = {
        f"optimizer.{name}": value for name, value in optimizer_tensors(trainer.optimizer, trainer.model).items()
    }
    tensors["random.cpu"] = torch.get_rng_state()
    kind = trainer.runtime.device.type
    if kind in GENERATORS:
        tensors[f"random.{kind}"] = GENERATORS[kind].get_rng_state()
    if trainer.average:
        tensors |= {f"raw.{name}": weight for name, weight in model_weights(trainer.model).items()}
    state = TrainingState(
        step=trainer.step,
        tokens=trainer.tokens,
        plan=trainer.plan,
        place=trainer.batches.place,
        best=trainer.best if math.isfinite(trainer.best) else None,
        best_step=trainer.best_step,
        waited=trainer.waited,
        scaler=trainer.scaler.state_dict(),
        logs=dict(logs or {}),
        **loop,
    )
    return Checkpoint(model_weights(trainer.kept_model), tensors, asdict(state))


def restore(trainer: Trainer, folder: Path) -> TrainingState:
    """Continue from a checkpoint.

    Args:
        trainer: a new one of the same settings.
        folder: of the checkpoint.

    Raises:
        CheckpointError: it is missing or damaged, or another model's or another optimizer's.
    """
    checkpoint = load_checkpoint(folder)
    state = _read_state(checkpoint.state, folder / STATE)
    tensors = _Tensors(checkpoint.tensors, folder / STATE_TENSORS)
    if state.scaler.keys() != trainer.scaler.state_dict().keys():
        raise CheckpointError(f"{folder / STATE} has a gradient scaler of another precision: put the checkpoint back")
    load_weights(trainer.kept_model, checkpoint.weights, folder)
    if trainer.average:
        load_weights(trainer.model, tensors.part("raw."), folder)
    restore_optimizer(trainer.optimizer, trainer.model, tensors.part("optimizer."), folder)
    tensors.restore_generators(trainer.runtime.device.type)
    trainer.step, trainer.tokens, trainer.plan = state.step, state.tokens, state.plan
    trainer.batches.place = state.place
    trainer.best = math.inf if state.best is None else state.best
    trainer.best_step, trainer.waited = state.best_step, state.waited
    if trainer.scaler.is_enabled():
        trainer.scaler.load_state_dict(state.scaler)
    return state


def _read_state(state: Mapping[str, Any], source: Path) -> TrainingState:
    try:
        return _STATE.validate_json(json.dumps(state))  # as JSON, whose arrays may be tuples
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(repr(part).strip("'") for part in first["loc"])
        raise CheckpointError(f"{source} is damaged ({where[:60]}: {first['msg']}): put the checkpoint back") from None


class _Tensors:
    """The tensors of a checkpoint's state, by the beginnings of their names."""

    def __init__(self, tensors: Mapping[str, Tensor], source: Path) -> None:
        self._tensors, self._source = tensors, source

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Those whose names begin with a prefix, without it."""
        return {name.removeprefix(prefix): tensor for name, tensor in self._tensors.items() if name.startswith(prefix)}

    def restore_generators(self, kind: str) -> None:
        """Put the random generators back; that of a device may be missing, as a run may continue on another one."""
        states = self.part("random.")
        try:
            torch.set_rng_state(states["cpu"])
            if kind in GENERATORS and kind in states:
                GENERATORS[kind].set_rng_state(states[kind])
        except (KeyError, RuntimeError, TypeError):
            what = "has no states of random generators, or others than PyTorch's"
            raise CheckpointError(f"{self._source} {what}: put the checkpoint back") from None
