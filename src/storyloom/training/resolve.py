"""The settings of a run, fully resolved: what the data, the machine and a probe decide of them."""

import time
from collections.abc import Sequence
from dataclasses import replace

from storyloom.config import Config
from storyloom.data import Data
from storyloom.errors import ConfigError, RunError
from storyloom.runtime import Runtime, choose_runtime
from storyloom.training.autotune import decides_to_compile, fit_to_machine
from storyloom.training.compiled import CompiledStep
from storyloom.training.plan import counted_limits
from storyloom.training.request import Request
from storyloom.training.trainer import Trainer


def resolve(
    request: Request, config: Config, data: Data, notes: list[str]
) -> tuple[Config, Runtime, CompiledStep | None]:
    """Fill in what the data, the machine and a probe decide; what the user should know of it is added to the notes."""
    if request.init is not None and request.init.tokenizer.fingerprint != data.tokenizer.fingerprint:
        raise RunError(
            f"{data.path} was prepared with another tokenizer than {request.init.path}: prepare it with "
            f"`tokenizer` {request.init.path / 'tokenizer.json'}"
        )
    if config.model.vocab_size not in (None, data.tokenizer.vocab_size):
        raise ConfigError(
            f"model.vocab_size = {config.model.vocab_size}, but the tokenizer of {data.path} has "
            f"{data.tokenizer.vocab_size} entries: leave it out, as it comes from the data"
        )
    config = config.with_(
        data=config.data.with_(**data.manifest.settings),
        model=config.model.with_(vocab_size=data.tokenizer.vocab_size),
    )
    config, runtime = fit_to_machine(config, data, choose_runtime(config.train))
    limits = counted_limits(config, data)
    if not limits and config.train.minutes is None:
        raise ConfigError("training has no end: give `minutes`, or one of train.max_steps, max_epochs, max_tokens")
    updates = min(limits.values(), default=None)
    notes += _notes_on_length(config, limits, request.settings)
    compiled = CompiledStep(runtime.device)
    compiles = decides_to_compile(config, data, runtime, compiled, updates)
    train = config.train.with_(
        max_steps=updates,
        compile=compiles,
        device=str(runtime.device),
        precision=runtime.precision,
        threads=runtime.threads,
    )
    return config.with_(train=train), replace(runtime, compile=compiles), compiled if compiles else None


def _notes_on_length(config: Config, limits: dict[str, int], settings: Sequence[str]) -> list[str]:
    """Where a limit of the user's own is not the one that holds, and where the warm-up has no end."""
    if not limits:
        return []
    notes = []
    holds = min(limits, key=limits.__getitem__)
    own = {setting.partition("=")[0].strip().removeprefix("train.") for setting in settings}
    lost = [name for name in limits if name in own and limits[name] > limits[holds]]
    if lost:
        value = f"train.{holds} = {getattr(config.train, holds):g}"
        notes.append(f"{value} ends the run after {limits[holds]} updates, before train.{lost[0]} does")
    warmup = config.train.warmup_steps
    if limits[holds] <= warmup:
        in_warmup = f"all {limits[holds]} updates lie in the warm-up of {warmup}"
        notes.append(f"{in_warmup}: allow more, or lower train.warmup_steps")
    return notes


def check_time(minutes: float, trainer: Trainer, data: Data, started: float) -> None:
    """Refuse a time that is over before the first update."""
    final = trainer.seconds_to_evaluate(data.manifest.val.tokens)
    needed = (time.perf_counter() - started + final) / 60
    if needed >= minutes:
        raise ConfigError(
            f"`minutes` = {minutes:g} is too little: getting ready and evaluating all validation stories take about "
            f"{needed:.2g} minutes here; allow more"
        )


def differences(config: Config, data: Data, settings: Sequence[str]) -> list[str]:
    """Where the data was made otherwise than a preset's tokenizer, or any of the user's own settings, ask for."""
    made = data.manifest.settings
    own = {setting.partition("=")[0].strip().removeprefix("data.") for setting in settings}
    return [
        f"the configuration asks for data.{name} = {asked}, {data.path} was prepared with {made[name]}, which holds"
        for name, asked in config.data.model_dump(include={"tokenizer", "vocab_size", *own} & made.keys()).items()
        if made[name] != asked and (name != "vocab_size" or made["tokenizer"] == "bpe")  # else nobody asked for a size
    ]
