"""What training costs as work grows: speed against parameters and context, memory against the size of the text.

    python benchmarks/cost.py [--quick] [--out FOLDER]
    python benchmarks/cost.py --write [--out FOLDER]

All shapes and a matrix product are kept in one process and take turns, so that a noisy minute hits all of them alike.
Memory is that of a process of its own for each size of text. The figures go to `cost.json`, from which `cost.md` and
`cost.png` beside it are made; `--write` makes these two anew.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from shutil import copytree
from statistics import median, quantiles
from threading import Event, Thread
from typing import Any

import torch
from cost_report import document, draw
from machine import begin_in_own_process, read_proc, result_of

from storyloom.benchmarking.measuring import MatrixProduct, median_ratio, take_turns
from storyloom.benchmarking.training import CEILING, WARM_UP
from storyloom.config import Config, apply_settings, load_preset
from storyloom.data import Data, prepare
from storyloom.data.manifest import write_manifest
from storyloom.data.shards import ShardWriter
from storyloom.errors import DataError, StoryloomError
from storyloom.files import sha256_of, write_json, write_text
from storyloom.model import count_flops_per_token, count_parameters
from storyloom.runtime import Runtime, choose_runtime
from storyloom.runtime.device import has_compiler
from storyloom.runtime.machine import processor_name
from storyloom.training.trainer import Trainer

DOCS = Path(__file__).parents[1] / "docs"
PRESET = "laptop"  # whatever a shape does not change
VOCABULARY = 4096
HEAD = 64  # the width of a head
TOKENS = 4096  # an update, however long the context
WATCH_SECONDS = 0.005  # between two looks at it; a step of the smallest model takes many times as long


@dataclass(frozen=True)
class Shape:
    """A model to be timed, and its batch of `TOKENS`."""

    n_layer: int
    n_embd: int
    block_size: int = 256
    attention: str = "eager"

    @property
    def name(self) -> str:
        """What to call it.

        >>> Shape(6, 256, 1024, "sdpa").name
        '6 x 256 at 1024, fused'
        """
        return f"{self.n_layer} x {self.n_embd} at {self.block_size}" + ", fused" * (self.attention == "sdpa")

    def config(self, settings: Sequence[str] = ()) -> Config:
        """The preset with its changes and these, ready for a trainer."""
        changes = [
            f"model.n_layer={self.n_layer}",
            f"model.n_embd={self.n_embd}",
            f"model.n_head={self.n_embd // HEAD}",
            f"model.block_size={self.block_size}",
            f"model.attention={self.attention}",
            f"data.vocab_size={VOCABULARY}",
            f"train.batch_size={TOKENS // self.block_size}",
            "train.grad_accum_steps=1",
            "train.optimizer=adamw",
        ]
        return trainable([*changes, *settings])


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    reference: Shape
    """Whose utilisation all expectations are made from."""
    shapes: tuple[Shape, ...]
    """With the reference."""
    seconds: float
    """How long to let them take turns."""
    text_mb: float
    """Megabytes of storybook, the smallest text."""
    repeats: tuple[int, ...]
    """How many times as large the texts are that memory is measured with."""
    updates: int
    """How many while memory is watched."""
    settings: tuple[str, ...] = ()
    """Changes to the preset for all that is measured."""


REFERENCE = Shape(6, 256)
LADDER = tuple(Shape(*sizes) for sizes in [(2, 128), (4, 192), (4, 256), (6, 256), (6, 384), (8, 512)])
WINDOWS = tuple(replace(REFERENCE, block_size=size) for size in (64, 128, 512, 1024, 2048))
# The preset writes its attention out, which is the faster way at short windows: the other way for the longest.
FULL = Plan(
    reference=REFERENCE,
    shapes=(*LADDER, *WINDOWS, replace(WINDOWS[-1], attention="sdpa")),
    seconds=90.0,
    text_mb=1.0,
    repeats=(1, 10, 100),
    updates=20,
)
SMALLEST = Shape(1, 64, 64)
QUICK = Plan(
    reference=SMALLEST,
    shapes=(SMALLEST, replace(SMALLEST, n_embd=128), replace(SMALLEST, block_size=128)),
    seconds=1.0,
    text_mb=0.1,
    repeats=(1, 3),
    updates=1,
    settings=("train.threads=1", "train.compile=false"),
)


def trainable(settings: Sequence[str]) -> Config:
    """The preset with these changes, ready for a trainer that never ends."""
    config = apply_settings(load_preset(PRESET), [*settings, "train.max_steps=1_000_000"])
    return config.with_(model=config.model.with_(vocab_size=config.data.vocab_size))


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; the exit status."""
    asked = _parser().parse_args(arguments)
    out = asked.out or (Path(tempfile.mkdtemp(prefix="cost-")) if asked.quick else DOCS)
    try:
        if not asked.write:
            figures = measure(QUICK if asked.quick else FULL)
            out.mkdir(parents=True, exist_ok=True)
            write_json(out / "cost.json", figures)
        print(write_documents(out))
        print(f"written to {out}", file=sys.stderr)
    except StoryloomError as error:
        print(f"cost: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a rehearsal in seconds, into a temporary folder")
    parser.add_argument("--write", action="store_true", help="measure nothing, only write the documents")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="of cost.json, cost.md and cost.png (default: docs)")
    return parser


def write_documents(folder: Path) -> str:
    """Write `cost.md` and `cost.png` from the `cost.json` beside them; returns the former."""
    try:
        figures = json.loads((folder / "cost.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise DataError(f"no figures in {folder / 'cost.json'}: measure them first, without --write") from None
    draw(figures, folder / "cost.png")
    text = document(figures)
    write_text(folder / "cost.md", text)
    return text


def measure(plan: Plan) -> dict[str, Any]:
    """All figures of a plan, and what they were measured with."""
    started = time.perf_counter()
    train = plan.reference.config(plan.settings).train
    runtime = choose_runtime(train)
    runtime = replace(runtime, compile=train.compile is not False and has_compiler(runtime.device))
    with tempfile.TemporaryDirectory() as folder:
        data = prepare("storybook", out=f"{folder}/data", tokenizer="char", limit_mb=plan.text_mb)
        memory = [measure_memory(plan, data, times, Path(folder)) for times in plan.repeats]
        speeds = measure_speeds(plan, data, runtime)
    return {
        "command": "make cost" if plan is FULL else "python benchmarks/cost.py --quick",
        "date": datetime.now(UTC).date().isoformat(),
        "minutes": round((time.perf_counter() - started) / 60, 1),
        "cpu": processor_name(),
        "device": str(runtime.device),
        "threads": runtime.threads,
        "precision": runtime.precision,
        "compiled": runtime.compile,
        "torch": version("torch"),
        "storyloom": version("storyloom"),
        "preset": PRESET,
        "vocab_size": VOCABULARY,
        "tokens_per_update": TOKENS,
        **speeds,
        "memory": memory,
    }


def measure_speeds(plan: Plan, data: Data, runtime: Runtime) -> dict[str, Any]:
    """Let an update of each shape and a matrix product take turns; returns the ceiling and a row a shape."""
    product = MatrixProduct(runtime.precision, runtime.device)
    actions: dict[str, Callable[[], object]] = {CEILING: product}
    # All models share their code, and after eight compilations of one piece of code PyTorch goes on without: tell it.
    limits = {"recompile_limit": len(plan.shapes) + 1, "fail_on_recompile_limit_hit": True}
    with torch._dynamo.config.patch(limits):
        for shape in plan.shapes:
            print(f"{shape.name}: making it ready", file=sys.stderr)
            actions[shape.name] = Trainer(shape.config(plan.settings), data, runtime).update
        for action in actions.values():
            for _ in range(WARM_UP):
                action()
        print(f"taking turns for {plan.seconds:g} seconds", file=sys.stderr)
        times = take_turns(actions, plan.seconds, runtime.device)
    return speeds_from(times, product.flops, plan)


def speeds_from(times: Mapping[str, list[float]], product_flops: int, plan: Plan) -> dict[str, Any]:
    """The ceiling, the reference, and a row a shape, from the seconds that each took in each round.

    Args:
        times: by name, of shapes and of the `CEILING`.
        product_flops: of one matrix product.
        plan: with the shapes.
    """
    return {
        "ceiling_gflops": round(product_flops / median(times[CEILING]) / 1e9, 1),
        "rounds": len(times[CEILING]),
        "reference": plan.reference.name,
        "shapes": [_speed_of(shape, times[shape.name], times[CEILING], product_flops) for shape in plan.shapes],
    }


def _speed_of(shape: Shape, seconds: list[float], ceiling: list[float], product_flops: int) -> dict[str, Any]:
    model = shape.config().model
    flops = count_flops_per_token(model)
    slow, _, fast = quantiles((TOKENS / each for each in seconds), n=4)
    return {
        "name": shape.name,
        **asdict(shape),
        "parameters": count_parameters(model),
        "flops_per_token": flops,
        "tokens_per_second": round(TOKENS / median(seconds), 1),
        "quartiles": [round(slow, 1), round(fast, 1)],
        "utilisation": round(TOKENS * flops / product_flops * median_ratio(ceiling, seconds), 4),
    }


def measure_memory(plan: Plan, data: Data, times: int, folder: Path) -> dict[str, Any]:
    """Train on a text `times` as large, in a process of its own; memory in bytes, None where there is no `/proc`."""
    corpus = repeat_corpus(data, folder / f"{times}-fold", times)
    print(f"memory with {corpus.manifest.train.tokens:,} tokens of text", file=sys.stderr)
    memory = result_of(begin_in_own_process(train_watched, corpus.path, plan), f"training on {times} times the text")
    on_disk = sum((corpus.path / name).stat().st_size for name in corpus.manifest.train.shards)
    return {"tokens": corpus.manifest.train.tokens, "disk": on_disk, "updates": plan.updates, **memory}


def repeat_corpus(data: Data, out: Path, times: int) -> Data:
    """A data folder whose training stories are those of another one, many times over."""
    copytree(data.path, out)
    tokens, train = data.tokens("train"), data.manifest.train
    stories = tokens.read(1, len(tokens) - 1)  # the writer brings the end-of-text before and behind them
    with ShardWriter(out, "train", data.tokenizer) as shards:
        for _ in range(times):
            shards.add(stories)
    larger = replace(
        train,
        stories=train.stories * times,
        bytes=train.bytes * times,
        tokens=shards.tokens,
        shards={name: sha256_of(out / name) for name in shards.names},
    )
    write_manifest(out, replace(data.manifest, train=larger))
    return Data(out)


def train_watched(folder: Path, plan: Plan) -> dict[str, int | None]:
    """Train the preset for some updates, not compiled; returns this process's peaks of memory, in bytes."""
    config = trainable(plan.settings)
    with AnonymousMemory() as anonymous:
        trainer = Trainer(config, Data(folder), choose_runtime(config.train))
        for _ in range(plan.updates):
            trainer.update()
    # Not getrusage: its figure begins with the peak of the process that started this one.
    return {"resident": read_proc("status", "VmHWM"), "anonymous": anonymous.peak}


class AnonymousMemory:
    """Watches this process's memory that is no file's: text that is mapped from the disk counts as nothing.

    Use as `with AnonymousMemory() as memory: ...`; then `memory.peak` is in bytes, None where there is no `/proc`.
    """

    def __init__(self) -> None:
        self.peak: int | None = None
        self._is_over = Event()
        self._thread = Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "AnonymousMemory":
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._is_over.wait(WATCH_SECONDS):
            self._look()

    def _look(self) -> None:
        now = read_proc("smaps_rollup", "Anonymous")
        if now is not None:
            self.peak = max(now, self.peak or 0)


if __name__ == "__main__":
    sys.exit(main())
