"""Screen changes to the preset `laptop` on a real text, and confirm the best of them with several seeds.

    python benchmarks/ablate.py --text TRAIN.txt [--only NAME...] [--rounds screen confirm] [--budget-minutes M]
    python benchmarks/ablate.py --list | --write

A finished run is one line of `benchmarks/ablations.jsonl`. Called again, the script goes on with what is missing, so
that it may be stopped or killed at any time: that costs the run it was in. At the end `docs/ablations.md` is written
anew from these lines. The text is split by its stories' hashes: 19 in 20 to train on, the rest to measure.
"""

import argparse
import hashlib
import json
import math
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread

from ablation_arms import PRESET, ROUNDS, Job, Row, jobs_of
from ablation_report import document

import storyloom
from storyloom.config import apply_settings, load_preset
from storyloom.errors import ConfigError, DataError, StoryloomError, TrainingDiverged
from storyloom.files import write_text
from storyloom.training.metrics import read_rows

PROJECT = Path(__file__).parents[1]
RESULTS = PROJECT / "benchmarks" / "ablations.jsonl"
DOCUMENT = PROJECT / "docs" / "ablations.md"
WORK = PROJECT / ".ablations"

VAL_FRACTION = 0.05
# A compiled update is 1.7 times as fast as an eager one on two AVX-512 cores, and so is what a user's ten minutes take.
COMPILE = True
SPARE_SECONDS = 60.0  # beside a run's own budget: starting torch, preparing a vocabulary, compiling for the first time
SAME = ("text_sha256", "preset_sha256")  # lines that differ in these must not stand in one table


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; the exit status."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.text is None and not (asked.list or asked.write):
        parser.error("--text is missing: name the text to train on, or take --list or --write")
    try:
        if asked.list:
            show(RESULTS, asked.rounds, asked.only)
            return 0
        if not asked.write:
            measure_all(asked)
        DOCUMENT.parent.mkdir(exist_ok=True)
        write_text(DOCUMENT, document(read_results(RESULTS)))
    except StoryloomError as error:
        print(f"ablate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ablate: interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, help="stories to train on and to measure with")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="an experiment, or EXPERIMENT/ARM")
    parser.add_argument(
        "--rounds", nargs="+", choices=ROUNDS, default=list(ROUNDS), help="by default one after another"
    )
    parser.add_argument(
        "--budget-minutes", type=float, default=math.inf, metavar="M", help="begin no run that ends later"
    )
    parser.add_argument("--list", action="store_true", help="print all runs and what is finished")
    parser.add_argument("--write", action="store_true", help="only write the document")
    parser.add_argument("--work", type=Path, default=WORK, help="folder for data and the run in progress")
    return parser


def measure_all(asked: argparse.Namespace) -> None:
    """Run what is missing of the rounds asked for, as long as there is time."""
    until = time.monotonic() + asked.budget_minutes * 60
    bench = Bench(asked.text, asked.work)
    refuse_mixture(read_results(RESULTS), bench.origin)
    for name in asked.rounds:
        jobs = jobs_of(name, read_results(RESULTS), asked.only)
        if not jobs:
            raise ConfigError("nothing to confirm: the screen has no base yet, or no arm; take --rounds screen first")
        if not run_missing(jobs, RESULTS, bench.run, lambda: until - time.monotonic()):
            print("out of time: the same command goes on", file=sys.stderr)
            return


def run_missing(
    jobs: Sequence[Job], results: Path, run: Callable[[Job], Row], seconds_left: Callable[[], float]
) -> bool:
    """Run in order what has no line yet, and write its line.

    Returns:
        Whether all are finished; else the time left is too short for the next.
    """
    for job in jobs:
        rows = read_results(results)
        if job.found_in(rows):
            continue
        if seconds_left() < expected_seconds(job, rows):
            return False
        print(f"{title(job)} ...", file=sys.stderr)
        row = {**job.as_row(), **run(job)}
        write_text(results, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in (*rows, row)))
        print(f"{title(job)}: {outcome(row)}", file=sys.stderr)
    return True


def expected_seconds(job: Job, rows: Sequence[Row]) -> float:
    """How long a run will take; one that is counted in tokens by the arm's own speed in the screen."""
    budget = ROUNDS[job.round]
    if budget.unit == "minutes":
        return budget.size * 60 + SPARE_SECONDS
    screens = (Job(job.experiment, job.arm, job.settings, "screen", seed) for seed in ROUNDS["screen"].seeds)
    speeds = [row["tokens"] / row["seconds"] for screen in screens if (row := screen.found_in(rows))]
    return budget.size / min(speeds) + SPARE_SECONDS


def read_results(path: Path) -> list[Row]:
    """All lines. Raises `DataError` where one is no JSON: they are written whole, so that somebody has changed it."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except ValueError:
            raise DataError(f"line {number} of {path} is no JSON: mend it, or remove it to run that again") from None
    return rows


def refuse_mixture(rows: Sequence[Row], origin: Row) -> None:
    """Raise `DataError` where there are lines of another text, or of the preset before it was changed."""
    for row in rows:
        for name in SAME:
            if row[name] != origin[name]:
                what = name.removesuffix("_sha256")
                raise DataError(
                    f"the results so far are of another {what} ({row[name]}) than this one ({origin[name]}): "
                    f"go back to that one, or move {RESULTS} away and begin anew"
                )


def show(results: Path, rounds: Sequence[str], only: Sequence[str]) -> None:
    """Print each run, and how it ended where it has."""
    rows = read_results(results)
    for name in rounds:
        jobs = jobs_of(name, rows, only)
        for job in jobs:
            row = job.found_in(rows)
            print(f"{title(job)}  {' '.join(job.settings)}: {outcome(row) if row else 'missing'}")
        if not jobs:
            print(f"{name}: to be chosen from the screen")


def title(job: Job) -> str:
    """A run in a few words."""
    return f"{job.round}, seed {job.seed}, {job.experiment}/{job.arm}"


def outcome(row: Row) -> str:
    """How a finished run ended."""
    return row.get("failed") or f"{row['bits_per_byte']:.4f} bits/byte after {row['tokens']:,} tokens"


class Bench:
    """A text, and a folder to train in.

    Args:
        text: the stories.
        work: keeps prepared data for the next time; runs are removed once they are measured.

    `origin` is what all lines must have in common.
    """

    def __init__(self, text: Path, work: Path) -> None:
        if not text.is_file():
            raise DataError(f"no text at {text}: name a file of stories with --text")
        self.text = text
        self.origin = {
            "text": text.name,
            "text_sha256": hashlib.sha256(text.read_bytes()).hexdigest()[:12],
            "preset_sha256": hashlib.sha256(load_preset(PRESET).model_dump_json().encode()).hexdigest()[:12],
        }
        self._work = work / self.origin["text_sha256"]

    def run(self, job: Job) -> Row:
        """Train and measure in a process of its own, so that no run finds the memory or the compiler used by another.

        Returns:
            What a line holds beside the job; `failed` instead of the figures where training diverged.
        """
        data = self.data_for(job)
        with ProcessPoolExecutor(1, get_context("spawn"), initializer=die_with_parent) as process:
            figures = process.submit(train_and_measure, job, data, self._work / "run").result()
        machine = {"cpu": cpu_name(), "torch": version("torch"), "storyloom": version("storyloom")}
        return {**figures, **self.origin, **machine, "date": datetime.now(UTC).date().isoformat()}

    def data_for(self, job: Job) -> Path:
        """The data folder with the vocabulary of a job, prepared where it is not there yet."""
        asked = apply_settings(load_preset(PRESET), job.settings).data
        folder = self._work / f"{asked.tokenizer}-{asked.vocab_size}"
        if not folder.exists():
            storyloom.prepare(self.text, out=folder, preset=asked, val_fraction=VAL_FRACTION)
        return folder


def die_with_parent() -> None:
    """End this process as soon as its parent is killed: it would slow down whatever is measured next."""

    def wait() -> None:
        if parent := parent_process():
            parent.join()
            os._exit(1)

    Thread(target=wait, daemon=True).start()


def train_and_measure(job: Job, data: Path, folder: Path) -> Row:
    """Train one arm into a folder that is then removed; returns its figures, or how it `failed`."""
    started = time.perf_counter()
    budget = ROUNDS[job.round]
    settings = [f"train.compile={str(COMPILE).lower()}", f"train.seed={job.seed}", *job.settings]
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    train = partial(storyloom.train, data, out=folder, preset=PRESET, progress=False)
    try:
        if budget.unit == "tokens":
            run = train(settings=[*settings, "train.max_epochs=none", f"train.max_tokens={budget.size}"])
        else:
            # What is compiled stays on disk: no arm's minutes are to pay for a compilation that others find done.
            train(settings=[*settings, "train.max_steps=1"])
            shutil.rmtree(folder)
            run = train(settings=settings, minutes=budget.size)
        figures = figures_of(run.path)
    except TrainingDiverged as error:
        figures = {"failed": str(error)}
    shutil.rmtree(folder, ignore_errors=True)  # gone already where it diverged in the probe
    return {**figures, "seconds": round(time.perf_counter() - started, 1)}


def figures_of(run: Path) -> Row:
    """What a finished run has left in its `metrics.jsonl`."""
    rows = read_rows(run / "metrics.jsonl")
    (start,) = (row for row in rows if row["kind"] == "start")
    last = [row for row in rows if row["kind"] == "train"][-1]
    (final,) = (row for row in rows if row["kind"] == "final")
    return {
        **{name: start[name] for name in ("parameters", "threads", "precision", "compiled")},
        "updates": last["step"],
        "tokens": last["tokens"],
        "epochs": last["epoch"],
        "tokens_per_second": round(last["tokens"] / last["seconds"]),  # updates alone
        **{name: round(final[name], 5) for name in ("nats_per_token", "bits_per_byte", "bits_per_byte_stderr")},
        "held_out_stories": final["stories"],
        "held_out_bytes": final["bytes"],
    }


def cpu_name() -> str:
    """The processor as the system calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
