"""The training loop: batches -> loss -> gradients -> update, with evaluations, samples and checkpoints on the way.

Everything that decides the next update is in the checkpoint: weights, the optimiser's memory, the place in the data,
the generator of dropout. Evaluation and samples draw from generators of their own and never touch these. They and every
checkpoint's `model.safetensors` take the weights that are to be used: the averaged ones where the run averages.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from storyloom.config import Config
from storyloom.data import IGNORED, Batches, Data
from storyloom.errors import TrainingDiverged
from storyloom.evaluation.likelihood import as_dict, measure_likelihood
from storyloom.generation import StoryTeller
from storyloom.model import GPT, count_flops_per_token, count_parameters
from storyloom.runtime import Run, Runtime, load_checkpoint, save_checkpoint
from storyloom.runtime.checkpoint import Checkpoint
from storyloom.runtime.run import load_weights, model_weights
from storyloom.training.averaging import WeightAverage
from storyloom.training.interrupt import StopRequest
from storyloom.training.metrics import MetricsLog
from storyloom.training.optimizer import OPTIMIZERS, optimizer_tensors, restore_optimizer
from storyloom.training.schedule import learning_rate_at

GENERATORS = {"cuda": torch.cuda, "mps": torch.mps}  # of random numbers, beside the CPU's


@dataclass(frozen=True)
class Update:
    """What one optimiser update saw."""

    loss: float
    """nats/token, over all of the step's valid targets, before the update."""
    grad_norm: float
    """Global norm of the gradient, before clipping."""
    tokens: int
    """Valid targets."""


class Trainer:
    """A model in training.

    Args:
        config: fully resolved: `model.vocab_size` and `train.max_steps` are set.
        data: what it learns from.
        runtime: where it runs.
    """

    def __init__(self, config: Config, data: Data, runtime: Runtime) -> None:
        self.settings, self.data, self.runtime = config.train, data, runtime
        torch.manual_seed(self.settings.seed)
        self.model = GPT(config.model).to(runtime.device)
        # Static shapes: one compilation serves the whole run. Evaluation and samples call the model as it is.
        self.nats = _compiled(self.model.nats, runtime.device) if runtime.compile else self.model.nats
        self.average = WeightAverage(self.model, self.settings.ema) if self.settings.ema is not None else None
        self.optimizer = OPTIMIZERS[self.settings.optimizer](self.model, self.settings)
        self.scaler = torch.amp.GradScaler(runtime.device.type, enabled=runtime.precision == "fp16")
        self.batches = Batches(
            data,
            rows=config.data.rows,
            batch_size=self.settings.batch_size,
            block_size=config.model.block_size,
            seed=self.settings.seed,
        )
        self.eval_stories = data.val_stories(self.settings.eval_stories)
        train = data.manifest["train"]
        self.tokens_per_byte = train["tokens"] / train["bytes"]
        self.step = 0
        self.tokens = 0
        self.seconds = 0.0
        self.best = math.inf  # lowest validation loss so far, nats/token
        self.waited = 0  # evaluations since then

    @property
    def kept_model(self) -> GPT:
        """The model to be evaluated and kept."""
        return self.average.model if self.average else self.model

    @property
    def is_done(self) -> bool:
        """Whether the last update is made, or patience is at its end."""
        assert self.settings.max_steps is not None, "the budget sets max_steps"
        is_tired = self.settings.patience is not None and self.waited >= self.settings.patience
        return is_tired or self.step >= self.settings.max_steps

    def update(self) -> Update:
        """One optimiser update on the next micro-batches.

        Raises:
            TrainingDiverged: loss or gradients are not finite; the weights are left as they were.
        """
        settings = self.settings
        micro_batches = [self.batches.next() for _ in range(settings.micro_batches)]
        n_targets = sum(int(np.count_nonzero(targets != IGNORED)) for _, targets in micro_batches)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=self.runtime.device)
        for inputs, targets in micro_batches:
            loss += self._backward(inputs, targets, n_targets)
        self.scaler.unscale_(self.optimizer)  # pyright: ignore[reportArgumentType]  # it asks for param_groups only
        parameters = self.model.parameters()
        grad_norm = torch.nn.utils.clip_grad_norm_(parameters, settings.grad_clip or math.inf)
        result = Update(loss.item(), grad_norm.item(), n_targets)
        self._move(result)
        self.step += 1
        self.tokens += n_targets
        if self.average:
            self.average.update(self.model, self.step)
        return result

    def _move(self, result: Update) -> None:
        """Change the weights, unless fp16's scale was too large for this gradient: then only the scale is lowered."""
        is_finite = math.isfinite(result.loss) and math.isfinite(result.grad_norm)
        is_overflow = math.isfinite(result.loss) and self.scaler.is_enabled() and self.scaler.get_scale() > 1
        if not (is_finite or is_overflow):
            raise self._diverged(self.step + 1, f"loss {result.loss:g} nats/token, gradient norm {result.grad_norm:g}")
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(self.step, self.settings)
        if is_finite:
            self.step_optimizer()
        self.scaler.update()

    def step_optimizer(self) -> None:
        """Move the weights by the gradients that they have."""
        with self.runtime.autocast():  # for Muon's products
            self.optimizer.step()

    def _backward(self, inputs: np.ndarray, targets: np.ndarray, n_targets: int) -> torch.Tensor:
        """Add a micro-batch's share of the gradient; returns its share of the loss, nats/token."""
        device = self.runtime.device
        with self.runtime.autocast():
            nats = self.nats(torch.from_numpy(inputs).to(device), torch.from_numpy(targets).to(device))
        loss = nats / n_targets
        self.scaler.scale(loss).backward()
        return loss.detach()

    def _diverged(self, step: int, what: str) -> TrainingDiverged:
        settings = self.settings
        return TrainingDiverged(
            f"training diverged at step {step}: {what}; what was saved before is kept: lower train.learning_rate "
            f"(now {settings.learning_rate:g}) or raise train.warmup_steps (now {settings.warmup_steps})"
        )

    def _check_finite(self, nats: float | None = None) -> None:
        """Refuse to save or to sample a model that the latest update has spoilt; the next loss would come too late."""
        if nats is None:
            nats = measure_likelihood(self.kept_model, self.eval_stories[:1], self.data.tokenizer.eot).nats_per_token
        if not math.isfinite(nats):
            raise self._diverged(self.step, f"loss {nats:g} nats/token after the update")

    def evaluate(self) -> dict[str, Any]:
        """Loss on the fixed subset of validation stories."""
        return as_dict(measure_likelihood(self.kept_model, self.eval_stories, self.data.tokenizer.eot))

    def sample(self) -> str:
        """A story told by the model as it is now."""
        teller = StoryTeller(self.kept_model, self.data.tokenizer)
        return teller.tell(seed=self.settings.seed, max_new_tokens=self.model.config.block_size)

    def checkpoint(self) -> Checkpoint:
        """Everything that the next update depends on."""
        tensors = {f"optimizer.{name}": value for name, value in optimizer_tensors(self.optimizer).items()}
        tensors["random.cpu"] = torch.get_rng_state()
        kind = self.runtime.device.type
        if kind in GENERATORS:
            tensors[f"random.{kind}"] = GENERATORS[kind].get_rng_state()
        if self.average:
            tensors |= {f"raw.{name}": weight for name, weight in model_weights(self.model).items()}
        state = {
            "step": self.step,
            "tokens": self.tokens,
            "seconds": self.seconds,
            "place": list(self.batches.place),
            "best": self.best if math.isfinite(self.best) else None,
            "waited": self.waited,
            "scaler": self.scaler.state_dict(),  # empty unless in fp16
        }
        return Checkpoint(model_weights(self.kept_model), tensors, state)

    def begin_with(self, weights: dict[str, torch.Tensor], source: Path) -> None:
        """Take these weights instead of random ones; raises `CheckpointError` where they are another model's."""
        load_weights(self.model, weights, source)
        if self.average:
            load_weights(self.average.model, weights, source)

    def restore(self, run: Run) -> None:
        """Go on from the run's last checkpoint."""
        folder = run.checkpoint_folder("last")
        checkpoint = load_checkpoint(folder)
        load_weights(self.kept_model, checkpoint.weights, folder)
        if self.average:
            load_weights(self.model, _part(checkpoint.tensors, "raw."), folder)
        restore_optimizer(self.optimizer, _part(checkpoint.tensors, "optimizer."))
        torch.set_rng_state(checkpoint.tensors["random.cpu"])
        kind = self.runtime.device.type
        if kind in GENERATORS and f"random.{kind}" in checkpoint.tensors:
            GENERATORS[kind].set_rng_state(checkpoint.tensors[f"random.{kind}"])
        state = checkpoint.state
        self.step, self.tokens, self.seconds = state["step"], state["tokens"], state["seconds"]
        self.batches.place = tuple(state["place"])
        self.best = math.inf if state["best"] is None else state["best"]
        self.waited = state["waited"]
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])

    def fit(self, run: Run, log: MetricsLog) -> None:
        """Train to the end, writing metrics, samples and checkpoints into the run folder.

        Raises:
            TrainingDiverged: as `update` does, or the model that is to be saved gives no finite loss.
            KeyboardInterrupt: after Ctrl-C or a termination signal, once `last` is saved.
        """
        settings = self.settings
        log.write(
            "start",
            self.step,
            max_steps=settings.max_steps,
            parameters=count_parameters(self.model.config),
            flops_per_token=count_flops_per_token(self.model.config),
            device=str(self.runtime.device),
            precision=self.runtime.precision,
            threads=self.runtime.threads,
            compiled=self.runtime.compile,
        )
        with StopRequest() as stop:
            while not self.is_done:
                self._timed_update(log)
                if self.step % settings.eval_interval == 0 or self.step == settings.max_steps:
                    self._evaluate_and_keep_best(run, log)
                if self.step % settings.sample_interval == 0:
                    self._check_finite()
                    log.write("sample", self.step, story=self.sample())
                stops = stop.requested  # asked once: a signal from here on waits for the next update
                if self.step % settings.checkpoint_interval == 0 or self.is_done or stops:
                    self._check_finite()
                    log.sync()
                    save_checkpoint(run.checkpoint_folder("last"), self.checkpoint())
                if stops and not self.is_done:
                    raise KeyboardInterrupt

    def _timed_update(self, log: MetricsLog) -> None:
        start = time.perf_counter()
        lr = learning_rate_at(self.step, self.settings)
        update = self.update()
        seconds = time.perf_counter() - start
        self.seconds += seconds
        log.write(
            "train",
            self.step,
            tokens=self.tokens,
            epoch=round(self.batches.epochs, 4),
            loss=update.loss,
            bits_per_byte=update.loss * self.tokens_per_byte / math.log(2),
            learning_rate=lr,
            grad_norm=update.grad_norm if math.isfinite(update.grad_norm) else None,  # fp16 skipped it; JSON has no inf
            tokens_per_second=round(update.tokens / seconds, 1),
            seconds=round(self.seconds, 3),
        )

    def _evaluate_and_keep_best(self, run: Run, log: MetricsLog) -> None:
        figures = self.evaluate()
        self._check_finite(figures["nats_per_token"])
        is_best = figures["nats_per_token"] < self.best
        log.write("eval", self.step, **figures, is_best=is_best)
        self.waited = 0 if is_best else self.waited + 1
        if is_best:
            self.best = figures["nats_per_token"]
            log.sync()  # whoever finds these weights finds their loss
            save_checkpoint(run.checkpoint_folder("best"), Checkpoint(model_weights(self.kept_model)))
        elif self.waited == self.settings.patience:
            text = f"stopped early: {self.waited} evaluations in a row without a lower validation loss"
            log.write("note", self.step, text=text)


def _compiled(function: Callable[..., torch.Tensor], device: torch.device) -> Callable[..., torch.Tensor]:
    """With PyTorch's own random numbers on a CPU: dropout is the eager step's, and takes less time."""
    return torch.compile(function, dynamic=False, options={"fallback_random": device.type == "cpu"})


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Those whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
