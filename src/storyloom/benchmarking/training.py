"""Tokens a second of training, beside the machine's own ceiling and `transformers` where it is installed."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from storyloom.benchmarking.measuring import MatrixProduct, largest_product, median_ratio, seconds_of, take_turns
from storyloom.benchmarking.peers import find_peers
from storyloom.config import Config, apply_settings, load_preset
from storyloom.data import Data, prepare
from storyloom.errors import ConfigError
from storyloom.model import count_flops_per_token, count_parameters
from storyloom.runtime import Runtime, choose_runtime
from storyloom.runtime.device import has_compiler
from storyloom.runtime.precision import choosable_precisions
from storyloom.training.autotune import compiled_trainer, fit_to_machine
from storyloom.training.compiled import CompiledStep
from storyloom.training.process import process_as_found
from storyloom.training.trainer import Trainer

WARM_UP = 3  # calls of each action before any clock runs, if there is time for this many
LEAST_ROUNDS = 5
MUCH_FASTER = 20.0  # times, of two precisions: more than a disturbance, or AMX against fp32, explains
TEXT_MB = 0.5  # of the storybook: what the tokens are makes no difference to the time
GPT2_ENTRIES = 50_257  # of a vocabulary that is not at hand offline
CEILING = "matrix product"
OPTIMIZER = "optimizer"


@dataclass(frozen=True)
class Candidate:
    """Somebody who trains the same shape, and how fast."""

    name: str
    precision: str
    tokens_per_second: float
    """The median over rounds."""
    utilization: float
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
    precision: str
    """What we train in."""
    why_precision: str
    ceilings: dict[str, float]
    """GFLOP/s of the matrix product in every precision that could have been chosen, so that a wrong choice shows."""
    optimizer_share: float
    """Of our update's time, what the optimizer takes of it, in the same round; the median over rounds."""
    candidates: list[Candidate]
    """We come first."""


def bench_train(preset: str = "laptop", settings: Sequence[str] = (), seconds: float = 60.0) -> TrainBench:
    """Time updates of a preset's model in turns with a matrix product and with others who train the same shape.

    Args:
        preset: a named configuration.
        settings: changes to it, as `GROUP.NAME=VALUE`.
        seconds: how long to measure, compilation and warming up not counted. One round is always completed, and five
            if they take at most as long again.

    Raises:
        ConfigError: the preset or a setting is unknown or impossible, there is no time, or the precision is so slow
            here that the time would not suffice.
    """
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"seconds = {seconds:g} must be above 0 and finite: for example 60")
    config = apply_settings(load_preset(preset), [*settings])
    config = config.with_(train=config.train.with_(max_steps=1_000_000))
    with process_as_found(), tempfile.TemporaryDirectory() as folder:
        data = prepare("storybook", out=f"{folder}/data", tokenizer="char", limit_mb=TEXT_MB)
        kinds = {"char": data.tokenizer.vocab_size, "gpt2": GPT2_ENTRIES}
        vocab_size = config.model.vocab_size or kinds.get(config.data.tokenizer, config.data.vocab_size)
        _check_vocabulary(config, vocab_size, data.tokenizer.vocab_size)
        config = config.with_(model=config.model.with_(vocab_size=vocab_size))
        runtime = choose_runtime(config.train)
        precisions = dict.fromkeys([*choosable_precisions(runtime.device), runtime.precision])
        products = {precision: largest_product(precision, runtime.device) for precision in precisions}
        _check_precision(config, runtime, products, seconds)
        config, runtime = fit_to_machine(config, data, runtime)
        ours = _our_trainers(config, data, runtime)
        updates = {name: trainer.update for name, trainer in ours.items()} | find_peers(config, runtime)
        return _measure(preset, next(iter(ours.values())), updates, products, seconds)


def _check_vocabulary(config: Config, entries: int, needed: int) -> None:
    """The benchmark's tokens must be entries of the model's vocabulary."""
    if entries < needed:
        name = "data.vocab_size" if config.model.vocab_size is None else "model.vocab_size"
        raise ConfigError(f"{name} = {entries} is too small for the benchmark's text, which needs {needed}: raise it")


def _check_precision(config: Config, runtime: Runtime, products: dict[str, MatrixProduct], seconds: float) -> None:
    """Refuse what would take far longer than it may, when another precision is much faster: fp16 on most CPUs."""
    settings, model = config.train, config.model
    parts = settings.grad_accum_steps if isinstance(settings.grad_accum_steps, int) else 1
    flops = settings.batch_size * parts * model.block_size * count_flops_per_token(model)
    speeds = {name: product.flops / seconds_of(product, runtime.device) for name, product in products.items()}
    ours, (best, fastest) = speeds[runtime.precision], max(speeds.items(), key=lambda item: item[1])
    update = flops / ours
    if MUCH_FASTER * ours < fastest and update * (WARM_UP + LEAST_ROUNDS) > seconds:
        raise ConfigError(
            f"train.precision = {runtime.precision} is too slow here: an update takes about {update:.2g} s, and "
            f"seconds = {seconds:g} is for {WARM_UP + LEAST_ROUNDS} of them; take {best}, whose matrix product is "
            f"{fastest / ours:.0f} times as fast, or allow more"
        )


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
    preset: str,
    trainer: Trainer,
    updates: dict[tuple[str, str], Callable[[], Any]],
    products: dict[str, MatrixProduct],
    seconds: float,
) -> TrainBench:
    runtime, model, settings = trainer.runtime, trainer.model.config, trainer.settings
    actions = {f"{name} {precision}": update for (name, precision), update in updates.items()}
    actions[OPTIMIZER] = trainer.updater.step_optimizer  # with the gradients of the latest update
    actions |= {f"{CEILING} {precision}": product for precision, product in products.items()}
    take_turns(actions, 0.0, runtime.device, WARM_UP)
    times = take_turns(actions, seconds, runtime.device, LEAST_ROUNDS)
    tokens = settings.batch_size * settings.micro_batches * model.block_size
    flops = tokens * count_flops_per_token(model)
    ours, *_ = times.values()
    candidates = []
    for name, precision in updates:
        taken = times[f"{name} {precision}"]
        share = flops / products[precision].flops * median_ratio(times[f"{CEILING} {precision}"], taken)
        candidates.append(Candidate(name, precision, tokens / median(taken), share, median_ratio(taken, ours)))
    ceilings = {p: product.flops / median(times[f"{CEILING} {p}"]) / 1e9 for p, product in products.items()}
    return TrainBench(
        preset,
        count_parameters(model),
        tokens,
        str(runtime.device),
        runtime.threads,
        runtime.precision,
        runtime.why_precision,
        ceilings,
        median_ratio(times[OPTIMIZER], ours),
        candidates,
    )
