"""Tokens a second of training, beside the machine's own ceiling and `transformers` where it is installed."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from storyloom.benchmarking.measuring import MatrixProduct, median_ratio, take_turns
from storyloom.benchmarking.peers import find_peers
from storyloom.config import Config, apply_settings, load_preset
from storyloom.data import Data, prepare
from storyloom.errors import ConfigError
from storyloom.model import count_flops_per_token, count_parameters
from storyloom.runtime import Runtime, choose_runtime
from storyloom.runtime.device import has_compiler
from storyloom.training.autotune import compiled_trainer, fit_to_machine
from storyloom.training.trainer import CompiledStep, Trainer

WARM_UP = 3  # updates of each contestant before any clock runs
TEXT_MB = 0.5  # of the storybook: what the tokens are makes no difference to the time
GPT2_ENTRIES = 50_257  # of a vocabulary that is not at hand offline
CEILING = "matrix product"
OPTIMIZER = "optimizer"


@dataclass(frozen=True)
class Contestant:
    """Somebody who trains the same shape, and how fast."""

    name: str
    precision: str
    tokens_per_second: float
    """The median over rounds."""
    utilisation: float
    """Share of the matrix product's speed in this precision, by the arithmetic of `count_flops_per_token`."""
    speed_up: float
    """How many times as fast we are, in the same round; the median over rounds."""


@dataclass(frozen=True)
class TrainBench:
    """What `bench_train` found."""

    preset: str
    parameters: int
    tokens_per_update: int
    device: str
    threads: int
    ceilings: dict[str, float]
    """GFLOP/s of the matrix product, by precision."""
    optimizer_share: float
    """Of our update's time, what the optimiser takes of it, in the same round; the median over rounds."""
    contestants: list[Contestant]
    """We come first."""


def bench_train(preset: str = "laptop", settings: Sequence[str] = (), seconds: float = 60.0) -> TrainBench:
    """Time updates of a preset's model in turns with a matrix product and with others who train the same shape.

    Args:
        preset: a named configuration.
        settings: changes to it, as `GROUP.NAME=VALUE`.
        seconds: how long to measure, compilation and warming up not counted.

    Raises:
        ConfigError: the preset or a setting is unknown or impossible, or there is no time.
    """
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"--seconds {seconds:g} must be above 0 and finite: for example --seconds 60")
    config = apply_settings(load_preset(preset), [*settings])
    config = config.with_(train=config.train.with_(max_steps=1_000_000))
    with tempfile.TemporaryDirectory() as folder:
        data = prepare("storybook", out=f"{folder}/data", tokenizer="char", limit_mb=TEXT_MB)
        kinds = {"char": data.tokenizer.vocab_size, "gpt2": GPT2_ENTRIES}
        vocab_size = config.model.vocab_size or kinds.get(config.data.tokenizer, config.data.vocab_size)
        config = config.with_(model=config.model.with_(vocab_size=vocab_size))
        config, runtime = fit_to_machine(config, data, choose_runtime(config.train))
        ours = _our_trainers(config, data, runtime)
        updates = {name: trainer.update for name, trainer in ours.items()} | find_peers(config, runtime)
        return _measure(preset, next(iter(ours.values())), updates, seconds)


def _our_trainers(config: Config, data: Data, runtime: Runtime) -> dict[tuple[str, str], Trainer]:
    """Compiled where that is possible and not switched off, and eager.

    Raises:
        ConfigError: compiling fails though asked for.
    """
    eager = {("storyloom, eager", runtime.precision): Trainer(config, data, replace(runtime, compile=False))}
    if config.train.compile is False or not has_compiler(runtime.device):
        return eager
    try:
        return {
            ("storyloom", runtime.precision): compiled_trainer(config, data, runtime, CompiledStep(runtime.device)),
            **eager,
        }
    except ConfigError:
        if config.train.compile is True:
            raise
        return eager


def _measure(
    preset: str, trainer: Trainer, updates: dict[tuple[str, str], Callable[[], Any]], seconds: float
) -> TrainBench:
    runtime, model, settings = trainer.runtime, trainer.model.config, trainer.settings
    precisions = dict.fromkeys(precision for _, precision in updates)
    products = {precision: MatrixProduct(precision, runtime.device) for precision in precisions}
    actions = {f"{name} {precision}": update for (name, precision), update in updates.items()}
    actions[OPTIMIZER] = trainer.step_optimizer  # with the gradients of the latest update
    actions |= {f"{CEILING} {precision}": product for precision, product in products.items()}
    for action in actions.values():
        for _ in range(WARM_UP):
            action()
    times = take_turns(actions, seconds, runtime.device)
    tokens = settings.batch_size * settings.micro_batches * model.block_size
    flops = tokens * count_flops_per_token(model)
    ours, *_ = times.values()
    contestants = []
    for name, precision in updates:
        taken = times[f"{name} {precision}"]
        share = flops / products[precision].flops * median_ratio(times[f"{CEILING} {precision}"], taken)
        contestants.append(Contestant(name, precision, tokens / median(taken), share, median_ratio(taken, ours)))
    ceilings = {p: product.flops / median(times[f"{CEILING} {p}"]) / 1e9 for p, product in products.items()}
    return TrainBench(
        preset,
        count_parameters(model),
        tokens,
        str(runtime.device),
        runtime.threads,
        ceilings,
        median_ratio(times[OPTIMIZER], ours),
        contestants,
    )
