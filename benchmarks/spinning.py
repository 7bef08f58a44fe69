"""What waiting threads cost: updates a second for several OpenMP spin counts, alone and beside a busy core, as a table.

Run with `python benchmarks/spinning.py --text FILE [--preset laptop]`. OpenMP reads its environment once, when it is
loaded, so that each spin count has a process of its own. The processes take turns, many times over, and a row's figures
are the median over rounds of its speed by that of the first row (nothing set) in the same round.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from statistics import median

SETTINGS: dict[str, dict[str, str]] = {
    "nothing set": {},
    **{f"GOMP_SPINCOUNT={n}": {"GOMP_SPINCOUNT": str(n)} for n in (300, 1000, 3000, 10_000, 30_000, 300_000)},
    "OMP_WAIT_POLICY=passive": {"OMP_WAIT_POLICY": "passive"},
}
MEASURED = [(mode, place) for mode in ("eager", "compiled") for place in ("alone", "beside")]


def worker(preset: str, data_folder: str) -> None:
    """Train in turns as told on standard input (`eager SECONDS`, `compiled SECONDS`); answer with updates a second."""
    from storyloom.config import load_preset
    from storyloom.data import Data
    from storyloom.runtime import choose_runtime
    from storyloom.training.trainer import Trainer

    data = Data(data_folder)
    config = load_preset(preset)
    config = config.with_(
        train=config.train.with_(max_steps=1_000_000),
        model=config.model.with_(vocab_size=data.tokenizer.vocab_size),
    )
    runtime = choose_runtime(config.train)
    trainers = {
        mode: Trainer(config, data, replace(runtime, compile=mode == "compiled")) for mode in ("eager", "compiled")
    }
    for trainer in trainers.values():
        for _ in range(5):
            trainer.update()
    print("ready", flush=True)
    for line in sys.stdin:
        mode, seconds = line.split()
        trainers[mode].update()  # caches are warm again
        count, start = 0, time.perf_counter()
        while (taken := time.perf_counter() - start) < float(seconds):
            trainers[mode].update()
            count += 1
        print(count / taken, flush=True)


@contextmanager
def busy_core(is_busy: bool) -> Iterator[None]:
    """Another program that keeps one core busy while the block runs."""
    if not is_busy:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measure(preset: str, data_folder: str, rounds: int, seconds: float) -> dict[str, dict[str, list[float]]]:
    """Updates a second of each setting, by mode and place, one a round."""
    found: dict[str, dict[str, list[float]]] = {
        name: {f"{mode}, {place}": [] for mode, place in MEASURED} for name in SETTINGS
    }
    with ExitStack() as running:
        workers = {}
        for name, environment in SETTINGS.items():
            workers[name] = running.enter_context(
                subprocess.Popen(
                    [sys.executable, __file__, "--worker", "--preset", preset, "--data", data_folder],
                    env={**os.environ, **environment},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            assert workers[name].stdout.readline() == "ready\n"
        for _ in range(rounds):
            for mode, place in MEASURED:
                with busy_core(place == "beside"):
                    for name, process in workers.items():
                        process.stdin.write(f"{mode} {seconds}\n")
                        process.stdin.flush()
                        found[name][f"{mode}, {place}"].append(float(process.stdout.readline()))
    return found


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """A line a setting: its speed in each place as a share of the first row's alone, the median over rounds."""
    first = found["nothing set"]
    columns = list(first)
    lines = [f"| | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
    for name, speeds in found.items():
        cells = []
        for column in columns:
            alone = first[f"{column.split(',')[0]}, alone"]
            cells.append(f"{median(a / b for a, b in zip(speeds[column], alone, strict=True)):.2f}")
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    options = argparse.ArgumentParser(description="What waiting threads cost.")
    options.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options.add_argument("--preset", default="laptop")
    options.add_argument("--data", help=argparse.SUPPRESS)
    options.add_argument("--text", help="stories to train on")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=2.0)
    given = options.parse_args()
    if given.worker:
        worker(given.preset, given.data)
        return
    from storyloom.data import prepare

    with tempfile.TemporaryDirectory() as folder:
        prepare(given.text or "storybook", out=f"{folder}/D", preset=given.preset, limit_mb=3)
        found = measure(given.preset, f"{folder}/D", given.rounds, given.seconds)
    print(json.dumps(found))
    print(table(found))


if __name__ == "__main__":
    main()
