"""A model in training: batches -> loss -> gradients -> update, and everything that the next update depends on.

All of that is in the checkpoint: weights, optimizer state, the place in the data, the generator of dropout, the plan.
Evaluation and samples draw from generators of their own and never touch these. They and every checkpoint's
`model.safetensors` take the weights that are to be used: the averaged ones where the run averages.
"""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import torch

from storyloom.config import Config
from storyloom.data import IGNORED, Batches, Data, EncodedStory
from storyloom.errors import TrainingDiverged
from storyloom.evaluation.likelihood import as_dict, count_positions, measure_likelihood
from storyloom.generation import StoryTeller
from storyloom.model import GPT, count_flops_per_token, count_parameters
from storyloom.runs import Run, load_checkpoint
from storyloom.runs.checkpoint import Checkpoint
from storyloom.runs.rows import StartRow
from storyloom.runs.weights import load_weights, model_weights
from storyloom.runtime import Runtime
from storyloom.training.averaging import WeightAverage
from storyloom.training.optimizer import OPTIMIZERS, optimizer_tensors, restore_optimizer
from storyloom.training.plan import Plan
from storyloom.training.schedule import learning_rate_at

LEAST_SHARE = 2**15  # elements for each thread: of less work they would rather wait for one another than do it
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
    learning_rate: float
    """That the update was made with."""


def summed_nats(model: GPT, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The model's summed loss of a micro-batch, in nats."""
    return model.nats(ids, targets)


class CompiledStep:
    """`summed_nats`, compiled at its first call and again for models and batches of other shapes.

    PyTorch keeps what it compiles with a function's code, for at most eight shapes, and then runs it eager without a
    word. So each of these has a copy of the code: what others in this process have compiled is neither used nor lost.

    Args:
        device: where it runs. On a CPU random numbers are PyTorch's own: dropout is the eager step's, and takes less
            time. Shapes are static: one compilation serves a whole run.
    """

    def __init__(self, device: torch.device) -> None:
        own = FunctionType(summed_nats.__code__.replace(), summed_nats.__globals__)
        options = {"fallback_random": True, "cpp.min_chunk_size": LEAST_SHARE} if device.type == "cpu" else {}
        self._compiled = torch.compile(own, dynamic=False, options=options)

    def __call__(self, model: GPT, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """A float32 scalar."""
        return self._compiled(model, ids, targets)


class Trainer:
    """A model in training.

    Args:
        config: with `model.vocab_size` set.
        data: what it learns from.
        runtime: where it runs.
        compiled: the compiled step that trainers of one run share; by default one of its own, if the runtime compiles.

    Attributes:
        plan: how long the run is; as `train.max_steps` says, but unknown at first where `train.minutes` limits it.
    """

    def __init__(self, config: Config, data: Data, runtime: Runtime, compiled: CompiledStep | None = None) -> None:
        self.settings, self.data, self.runtime = config.train, data, runtime
        torch.manual_seed(self.settings.seed)
        self.model = GPT(config.model).to(runtime.device)
        # Evaluation and samples call the model as it is, not compiled.
        self._nats = (compiled or CompiledStep(runtime.device)) if runtime.compile else summed_nats
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
        train = data.manifest.train
        self.tokens_per_byte = train.tokens / train.bytes
        known = self.settings.max_steps if self.settings.minutes is None else None
        self.plan = Plan.whole(known, self.settings.warmup_steps)
        self.step = 0
        self.tokens = 0
        self.best = math.inf  # lowest validation loss so far, nats/token
        self.best_step = 0
        self.waited = 0  # evaluations since then

    @property
    def kept_model(self) -> GPT:
        """The model to be evaluated and kept."""
        return self.average.model if self.average else self.model

    @property
    def is_done(self) -> bool:
        """Whether the last update is made, or patience is at its end."""
        is_tired = self.settings.patience is not None and self.waited >= self.settings.patience
        return is_tired or self.is_at_end

    @property
    def is_at_end(self) -> bool:
        """Whether all planned updates are made."""
        end = self.settings.max_steps if self.plan.end is None else self.plan.end
        return end is not None and self.step >= end

    @property
    def learning_rate(self) -> float:
        """Of the next update."""
        return learning_rate_at(self.step, self.plan.progress_at(self.step), self.settings)

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
        result = Update(loss.item(), grad_norm.item(), n_targets, self.learning_rate)
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
            group["lr"] = result.learning_rate
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
        ids, wanted = torch.from_numpy(inputs).to(device), torch.from_numpy(targets).to(device)
        with _deterministic(self.runtime):
            with self.runtime.autocast():
                nats = self._nats(self.model, ids, wanted)
            loss = nats / n_targets
            self.scaler.scale(loss).backward()
        return loss.detach()

    def _diverged(self, step: int, what: str) -> TrainingDiverged:
        settings = self.settings
        return TrainingDiverged(
            f"training diverged at step {step}: {what}; what was saved before is kept: lower train.learning_rate "
            f"(now {settings.learning_rate:g}) or raise train.warmup_steps (now {settings.warmup_steps})"
        )

    def check_finite(self, nats: float | None = None) -> None:
        """Refuse to save or to sample a model that the latest update has spoilt; the next loss would come too late."""
        if nats is None:
            nats = measure_likelihood(self.kept_model, self.eval_stories[:1], self.data.tokenizer.eot).nats_per_token
        if not math.isfinite(nats):
            raise self._diverged(self.step, f"loss {nats:g} nats/token after the update")

    def evaluate(self) -> dict[str, Any]:
        """Loss on the fixed subset of validation stories."""
        return as_dict(measure_likelihood(self.kept_model, self.eval_stories, self.data.tokenizer.eot))

    def seconds_to_evaluate(self, tokens: int) -> float:
        """About how long the evaluation of stories of this many tokens takes, by that of a few."""
        by_length = sorted(self.eval_stories, key=lambda story: len(story.ids))
        few = by_length[:: max(1, len(by_length) // 50)]
        eot = self.data.tokenizer.eot
        measure_likelihood(self.kept_model, few[:1], eot)  # the first one takes longer
        start = time.perf_counter()
        measure_likelihood(self.kept_model, few, eot)
        seconds = time.perf_counter() - start
        computed, all_computed = (count_positions(self.model.config, part, eot) for part in (few, self.eval_stories))
        return seconds * all_computed / computed * tokens / self.eval_tokens

    @property
    def eval_tokens(self) -> int:
        """Tokens of the stories that are evaluated on the way."""
        return _tokens_of(self.eval_stories)

    def start_row(self) -> StartRow:
        """What is trained and how."""
        runtime = self.runtime
        return StartRow(
            step=self.step,
            max_steps=self.plan.end,
            minutes=self.settings.minutes,
            parameters=count_parameters(self.model.config),
            flops_per_token=count_flops_per_token(self.model.config),
            device=str(runtime.device),
            precision=runtime.precision,
            why_precision=runtime.why_precision,
            threads=runtime.threads,
            compiled=runtime.compile,
        )

    def sample(self) -> str:
        """A story told by the model as it is now."""
        teller = StoryTeller(self.kept_model, self.data.tokenizer)
        return teller.tell(seed=self.settings.seed, max_new_tokens=self.model.config.block_size)

    def checkpoint(self) -> Checkpoint:
        """Everything that the next update depends on."""
        tensors = {f"optimizer.{name}": value for name, value in optimizer_tensors(self.optimizer, self.model).items()}
        tensors["random.cpu"] = torch.get_rng_state()
        kind = self.runtime.device.type
        if kind in GENERATORS:
            tensors[f"random.{kind}"] = GENERATORS[kind].get_rng_state()
        if self.average:
            tensors |= {f"raw.{name}": weight for name, weight in model_weights(self.model).items()}
        state = {
            "step": self.step,
            "tokens": self.tokens,
            "plan": asdict(self.plan),
            "place": list(self.batches.place),
            "best": self.best if math.isfinite(self.best) else None,
            "best_step": self.best_step,
            "waited": self.waited,
            "scaler": self.scaler.state_dict(),  # empty unless in fp16
        }
        return Checkpoint(model_weights(self.kept_model), tensors, state)

    def begin_with(self, weights: dict[str, torch.Tensor], source: Path) -> None:
        """Take these weights instead of random ones; raises `CheckpointError` where they are another model's."""
        load_weights(self.model, weights, source)
        if self.average:
            load_weights(self.average.model, weights, source)

    def restore(self, run: Run) -> Checkpoint:
        """Continue from the run's last checkpoint, which is returned."""
        folder = run.checkpoint_folder("last")
        checkpoint = load_checkpoint(folder)
        load_weights(self.kept_model, checkpoint.weights, folder)
        if self.average:
            load_weights(self.model, _part(checkpoint.tensors, "raw."), folder)
        restore_optimizer(self.optimizer, self.model, _part(checkpoint.tensors, "optimizer."), folder)
        torch.set_rng_state(checkpoint.tensors["random.cpu"])
        kind = self.runtime.device.type
        if kind in GENERATORS and f"random.{kind}" in checkpoint.tensors:
            GENERATORS[kind].set_rng_state(checkpoint.tensors[f"random.{kind}"])
        state = checkpoint.state
        self.step, self.tokens, self.plan = state["step"], state["tokens"], Plan(**state["plan"])
        self.batches.place = tuple(state["place"])
        self.best = math.inf if state["best"] is None else state["best"]
        self.best_step, self.waited = state["best_step"], state["waited"]
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])
        return checkpoint


@contextmanager
def _deterministic(runtime: Runtime) -> Iterator[None]:
    """Let the compiled step on a CPU give the same bits each time; put back what was set before.

    What is compiled adds up the gradient of the embedding by atomic additions otherwise, in an order that the threads
    decide.
    """
    if not (runtime.compile and runtime.device.type == "cpu"):
        yield
        return
    before, warns = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warns)


def _tokens_of(stories: Sequence[EncodedStory]) -> int:
    """With an end-of-text each."""
    return sum(len(story.ids) + 1 for story in stories)


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Those whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
