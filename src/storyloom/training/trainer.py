"""A model in training: its data, its updates and its plan, and what is asked of it on the way.

All that the next update depends on is in the checkpoint: see `state.py`. Evaluation and samples draw from generators
of their own and never touch these. They and every checkpoint's `model.safetensors` take the weights that are to be
used: the averaged ones if the run averages.
"""

import math
import time
from pathlib import Path
from typing import Any

import torch

from storyloom.config import Config
from storyloom.data import Batches, Data
from storyloom.evaluation.likelihood import as_dict, count_positions, measure_likelihood
from storyloom.generation import StoryTeller
from storyloom.model import GPT, count_flops_per_token, count_parameters
from storyloom.runs.rows import StartRow
from storyloom.runs.weights import Weights, load_weights
from storyloom.runtime import Runtime
from storyloom.training.averaging import WeightAverage
from storyloom.training.compiled import CompiledStep, summed_loss
from storyloom.training.optimizer import OPTIMIZERS
from storyloom.training.plan import Plan
from storyloom.training.schedule import learning_rate_at
from storyloom.training.update import Update, Updater, diverged


class Trainer:
    """A model in training.

    Args:
        config: with `model.vocab_size` set.
        data: what it learns from.
        runtime: where it runs.
        compiled: the compiled step that trainers of one run share; by default one of its own, if the runtime compiles.

    Attributes:
        plan: how long the run is; as `train.max_steps` says, but unknown at first if `train.minutes` limits it.
    """

    def __init__(self, config: Config, data: Data, runtime: Runtime, compiled: CompiledStep | None = None) -> None:
        self.settings, self.data, self.runtime = config.train, data, runtime
        torch.manual_seed(self.settings.seed)
        self.model = GPT(config.model).to(runtime.device)
        self.average = WeightAverage(self.model, self.settings.ema) if self.settings.ema is not None else None
        self.optimizer = OPTIMIZERS[self.settings.optimizer](self.model, self.settings)
        # Evaluation and samples call the model as it is, not compiled.
        loss = (compiled or CompiledStep(runtime.device)) if runtime.compile else summed_loss
        self.updater = Updater(self.model, self.optimizer, self.settings, runtime, loss)
        self.scaler = self.updater.scaler
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
        """One optimizer update on the next micro-batches.

        Raises:
            TrainingDiverged: loss or gradients are not finite; the weights are left as they were.
        """
        micro_batches = [self.batches.next() for _ in range(self.settings.micro_batches)]
        update = self.updater(self.step + 1, micro_batches, self.learning_rate)
        self.step += 1
        self.tokens += update.tokens
        if self.average:
            self.average.update(self.model, self.step)
        return update

    def check_finite(self, nats: float | None = None) -> None:
        """Refuse to save or to sample a model that the latest update has ruined; the next loss would come too late."""
        if nats is None:
            nats = measure_likelihood(self.kept_model, self.eval_stories[:1], self.data.tokenizer.eot).nats_per_token
        if not math.isfinite(nats):
            raise diverged(self.step, f"loss {nats:g} nats/token after the update", self.settings)

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
        return sum(len(story.ids) + 1 for story in self.eval_stories)  # with an end-of-text each

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

    def begin_with(self, weights: Weights, source: Path) -> None:
        """Take these weights instead of random ones; raises `CheckpointError` if they are another model's."""
        load_weights(self.model, weights, source)
        if self.average:
            load_weights(self.average.model, weights, source)
