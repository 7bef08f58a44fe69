"""Memory and speed of a 30M model with GPT-2's vocabulary, its loss in pieces and plain: ratios, as JSON.

Run with `python benchmarks/large_vocabulary.py`. Both train eagerly: compiled, PyTorch fuses the plain loss by itself.
Peaks are those of a process of its own each; speeds are updates in turns, the median of the rounds' ratios.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import median

from machine import begin_in_own_process, read_proc

from storyloom.benchmarking.measuring import median_ratio, take_turns
from storyloom.config import Config, apply_settings, load_preset
from storyloom.data import Data, prepare
from storyloom.model import count_parameters, loss
from storyloom.runtime import choose_runtime
from storyloom.training.trainer import Trainer

SHAPE = ("model.n_layer=6", "model.n_embd=384", "model.n_head=6", "model.block_size=128", "model.vocab_size=50257")
PARTS = ("model.position=learned", "model.norm=layernorm", "model.mlp=gelu", "model.bias=true", "model.qk_norm=false")
TRAINING = ("train.optimizer=adamw", "train.batch_size=32", "train.grad_accum_steps=1", "train.max_steps=1000000")
WAYS = ("pieces", "plain")


@dataclass(frozen=True)
class Size:
    """How much is measured, and of what."""

    settings: tuple[str, ...] = (*SHAPE, *PARTS, *TRAINING)
    seconds: float = 40.0
    updates: int = 3
    """While memory is watched."""


def config_of(size: Size) -> Config:
    return apply_settings(load_preset("laptop"), size.settings)


@contextmanager
def loss_taken(way: str) -> Iterator[None]:
    """Trainers in this block take the loss in pieces, or plainly however large the vocabulary is."""
    before = loss.LARGE_VOCABULARY
    loss.LARGE_VOCABULARY = sys.maxsize if way == "plain" else before
    try:
        yield
    finally:
        loss.LARGE_VOCABULARY = before


def make_trainer(size: Size, data: str) -> Trainer:
    config = config_of(size)
    return Trainer(config, Data(data), replace(choose_runtime(config.train), compile=False))


def peak_memory(size: Size, data: str, way: str) -> int | None:
    """Bytes, of this whole process; None where there is no `/proc`."""
    trainer = make_trainer(size, data)
    with loss_taken(way):
        for _ in range(size.updates):
            trainer.update()
    return read_proc("status", "VmHWM")


def measure(size: Size) -> dict[str, object]:
    """Peaks, median tokens/s and ratios."""

    def update(way: str) -> None:
        with loss_taken(way):
            trainers[way].update()

    with tempfile.TemporaryDirectory() as folder:
        prepare("storybook", out=f"{folder}/data", tokenizer="char", limit_mb=0.5)
        memory = {}
        for way in WAYS:
            memory[way] = begin_in_own_process(peak_memory, size, f"{folder}/data", way).result()
        trainers = {way: make_trainer(size, f"{folder}/data") for way in WAYS}
        for way in WAYS:
            update(way)
        runtime = trainers["plain"].runtime
        times = take_turns({way: lambda way=way: update(way) for way in WAYS}, size.seconds, runtime.device)
    tokens = trainers["plain"].tokens / trainers["plain"].step
    return {
        "parameters": count_parameters(config_of(size).model),
        "precision": runtime.precision,
        "threads": runtime.threads,
        "rounds": len(times["plain"]),
        "peak_bytes": memory,
        "peak_ratio": round(memory["pieces"] / memory["plain"], 3) if all(memory.values()) else None,
        "tokens_per_second": {way: round(tokens / median(times[way])) for way in WAYS},
        "speed_ratio": round(median_ratio(times["plain"], times["pieces"]), 3),
    }


if __name__ == "__main__":
    print(json.dumps(measure(Size()), indent=2))
