"""One update of the weights, the heart of all training:

    micro-batches -> loss -> backward (gradients add up) -> clip -> step

Knows no text, no schedule and no files: it is handed micro-batches and a learning rate. Legend: B rows of a
micro-batch, T tokens in a row.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from storyloom.config import TrainConfig
from storyloom.data import IGNORED
from storyloom.errors import TrainingDiverged
from storyloom.model import GPT
from storyloom.runtime import Runtime
from storyloom.training.compiled import SummedLoss, deterministic, summed_loss
from storyloom.training.optimizer import Optimizer

MicroBatch = tuple[np.ndarray, np.ndarray]  # inputs and targets, int64 (B, T); some targets may be IGNORED


@dataclass(frozen=True)
class Update:
    """What one optimizer update saw."""

    loss: float
    """nats/token, over all of the update's targets, before the weights moved."""
    grad_norm: float | None
    """Global norm of the gradient, before clipping; None if fp16 overflowed, and the weights did not move."""
    tokens: int
    """Targets that counted."""
    learning_rate: float
    """That the update was made with."""


class Updater:
    """Moves the weights of a model down the gradient of its loss.

    Args:
        model: the one in training.
        optimizer: of its parameters.
        settings: `grad_clip`; the others are named when training diverges.
        runtime: the device, and the precision of forward and backward passes.
        loss: of a micro-batch, eager or compiled.

    Attributes:
        scaler: multiplies the loss in fp16, whose smallest numbers would lose gradients; does nothing otherwise.
    """

    def __init__(
        self, model: GPT, optimizer: Optimizer, settings: TrainConfig, runtime: Runtime, loss: SummedLoss = summed_loss
    ) -> None:
        self.model, self.optimizer, self._settings = model, optimizer, settings
        self._runtime, self._summed_loss = runtime, loss
        self.scaler = torch.amp.GradScaler(runtime.device.type, enabled=runtime.precision == "fp16")

    def __call__(self, step: int, micro_batches: Sequence[MicroBatch], learning_rate: float) -> Update:
        """Make one update.

        Args:
            step: its number, counted from 1.
            micro_batches: their gradients are summed: four of them are one that is four times as large.
            learning_rate: of this update.

        Raises:
            TrainingDiverged: loss or gradients are not finite; the weights are left as they were.
        """
        # Each loss is divided by the targets of the whole update, so that every token counts the same in whichever
        # micro-batch it is. A mean of the micro-batches' means would count those of half-empty ones more.
        n_targets = sum(int(np.count_nonzero(targets != IGNORED)) for _, targets in micro_batches)
        self.model.train()  # dropout is on; an evaluation in between switched it off
        self.optimizer.zero_grad(set_to_none=True)  # backward passes add to what is there
        loss = torch.zeros((), device=self._runtime.device)
        for inputs, targets in micro_batches:
            loss += self._backward(inputs, targets, n_targets)
        # Clipping must see the gradient in its true size.
        self.scaler.unscale_(self.optimizer)  # pyright: ignore[reportArgumentType]  # it asks for param_groups only
        # A rare batch with a huge gradient would throw the weights far off: it keeps its direction, not its length.
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._settings.grad_clip or math.inf)
        update = Update(loss.item(), self._finite_norm(step, loss.item(), norm.item()), n_targets, learning_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        if update.grad_norm is not None:
            self.step_optimizer()
        self.scaler.update()  # a lower scale after an overflow, a higher one when all has been well for long
        return update

    def _backward(self, inputs: np.ndarray, targets: np.ndarray, n_targets: int) -> torch.Tensor:
        """Add a micro-batch's share of the gradient; returns its share of the loss, nats/token."""
        device = self._runtime.device
        ids, wanted = torch.from_numpy(inputs).to(device), torch.from_numpy(targets).to(device)  # (B, T) each
        with deterministic(self._runtime):
            with self._runtime.autocast():  # products in bf16 or fp16, sums and weights in fp32
                nats = self._summed_loss(self.model, ids, wanted)
            loss = nats / n_targets
            self.scaler.scale(loss).backward()
        return loss.detach()  # without the graph, whose memory is free now

    def _finite_norm(self, step: int, loss: float, norm: float) -> float | None:
        """The gradient's norm; None if only fp16's scale was too large for this gradient."""
        if math.isfinite(loss) and math.isfinite(norm):
            return norm
        if math.isfinite(loss) and self.scaler.is_enabled() and self.scaler.get_scale() > 1:
            return None
        raise diverged(step, f"loss {loss:g} nats/token, gradient norm {norm:g}", self._settings)

    def step_optimizer(self) -> None:
        """Move the weights by the gradients that they have."""
        with self._runtime.autocast():  # for Muon's products
            self.optimizer.step()


def diverged(step: int, what: str, settings: TrainConfig) -> TrainingDiverged:
    """The error to raise if numbers are no longer finite."""
    return TrainingDiverged(
        f"training diverged at step {step}: {what}; what was saved before is kept: lower train.learning_rate "
        f"(now {settings.learning_rate:g}) or raise train.warmup_steps (now {settings.warmup_steps})"
    )
