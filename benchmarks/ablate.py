"""Screen changes to a base configuration on a real text, and confirm the best of them with several seeds.

    python benchmarks/ablate.py --text TRAIN.txt [--arms NAME...] [--rounds screen confirm] [--jobs N]
                                [--budget-minutes M]
    python benchmarks/ablate.py --list | --write

A finished run is one line of `benchmarks/ablations.jsonl`. Called again, the script goes on with what is missing, so
that it may be stopped or killed at any time: that costs the runs it was in. Budgets are counted in tokens, so that
what else the machine does changes how long a run takes and not how it ends. At the end `docs/ablations.md` is written
anew from these lines. The text is split by its stories' hashes: 19 in 20 to train on, the rest to measure.
"""

import argparse
import hashlib
import math
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from ablation_arms import BASE_CONFIG, ROUNDS, Job, Round, costly, jobs_of, known_pace
from ablation_report import document
from machine import begin_in_own_process, no_survivors, result_of
from results import Row, figures_of, outcome, read_results, refuse_mixture, write_results

import storyloom
from storyloom.benchmarking.measuring import median_ratio, take_turns
from storyloom.config import Config, apply_settings, load_config
from storyloom.data import Data
from storyloom.errors import ConfigError, DataError, StoryloomError, TrainingDiverged
from storyloom.files import write_text
from storyloom.runtime import Runtime, choose_runtime
from storyloom.runtime.device import count_cores
from storyloom.runtime.machine import processor_name
from storyloom.training.trainer import Trainer

PROJECT = Path(__file__).parents[1]
RESULTS = PROJECT / "benchmarks" / "ablations.jsonl"
DOCUMENT = PROJECT / "docs" / "ablations.md"
WORK = PROJECT / ".ablations"

VAL_FRACTION = 0.05
# Of every run, the base's too. A compiled update is 1.7 times as fast as an eager one on two AVX-512 cores, and so is
# what a user's ten minutes take.
COMMON = ("train.compile=true", "train.max_epochs=none")
WARM_UP = 3  # updates of the base and of the arm before any clock runs
PACE_SECONDS = 15.0  # of updates in turns
# No update while a pace is measured may spoil the weights: the learning rate hardly rises.
SLOW_START = ("train.max_steps=1000000", "train.warmup_steps=1000000")
BASE_SECONDS = 120.0  # how long a run is expected to take before any has been timed
SPARE_SECONDS = 60.0  # beside the training: starting torch, preparing a vocabulary, compiling, measuring a pace


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; the exit status."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.text is None and not (asked.list or asked.write):
        parser.error("--text is missing: name the text to train on, or take --list or --write")
    try:
        if asked.list:
            show(RESULTS, asked.rounds, asked.arms)
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
    parser.add_argument("--arms", nargs="+", default=[], metavar="NAME", help="an experiment, or EXPERIMENT/ARM")
    parser.add_argument(
        "--rounds", nargs="+", choices=ROUNDS, default=list(ROUNDS), help="by default one after another"
    )
    parser.add_argument(
        "--budget-minutes", type=float, default=math.inf, metavar="M", help="begin no run that ends later"
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="run so many at a time, each with its share of the cores"
    )
    parser.add_argument("--list", action="store_true", help="print all runs and what is finished")
    parser.add_argument("--write", action="store_true", help="only write the document")
    parser.add_argument("--work", type=Path, default=WORK, help="folder for data and the runs in progress")
    return parser


def measure_all(asked: argparse.Namespace) -> None:
    """Run what is missing of the rounds asked for, as long as there is time."""
    if asked.jobs < 1:
        raise ConfigError(f"--jobs {asked.jobs} must be at least 1: for example --jobs 2")
    until = time.monotonic() + asked.budget_minutes * 60
    bench = Bench(asked.text, asked.work, threads=max(1, count_cores() // asked.jobs))
    refuse_mixture(read_results(RESULTS), bench.origin)
    for name in asked.rounds:
        jobs = jobs_of(name, read_results(RESULTS), asked.arms)
        if not jobs:
            raise ConfigError("nothing to confirm: the screen has no base yet, or no arm; take --rounds screen first")
        if not run_missing(jobs, RESULTS, bench.begin, lambda: until - time.monotonic(), asked.jobs):
            print("out of time: the same command goes on", file=sys.stderr)
            return


def base_config() -> Config:
    """What every arm changes."""
    return load_config(BASE_CONFIG)[0]


Begin = Callable[[Job, float | None], Future[Row]]  # from a run and, where it is known, its pace


def run_missing(
    jobs: Sequence[Job], results: Path, begin: Begin, seconds_left: Callable[[], float], at_once: int = 1
) -> bool:
    """Run in order what has no line yet, so many at a time, and write the line of each as it ends.

    Returns:
        Whether all are finished; else the time left is too short for the next.
    """
    rows = read_results(results)
    missing = [job for job in jobs if not job.found_in(rows)]
    running: dict[Future[Row], Job] = {}
    with no_survivors():
        while running or missing:
            while missing and len(running) < at_once and seconds_left() >= expected_seconds(missing[0], rows):
                job = missing.pop(0)
                print(f"{title(job)} ...", file=sys.stderr)
                running[begin(job, known_pace(job.settings, rows))] = job
            if not running:
                return False
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                rows.append({**job.as_row(), **result_of(future, title(job))})
                write_results(results, rows)
                print(f"{title(job)}: {outcome(rows[-1])}", file=sys.stderr)
    return True


def expected_seconds(job: Job, rows: Sequence[Row]) -> float:
    """As long as the longest screen so far, as a pace is to make them equal; to confirm a slow arm takes longer."""
    longest = max((row["seconds"] for row in rows if row["round"] == "screen"), default=BASE_SECONDS)
    pace = 1.0 if ROUNDS[job.round].paced else known_pace(job.settings, rows) or 1.0
    return longest / pace + SPARE_SECONDS


def show(results: Path, rounds: Sequence[str], named: Sequence[str]) -> None:
    """Print each run, and how it ended where it has."""
    rows = read_results(results)
    for name in rounds:
        jobs = jobs_of(name, rows, named)
        for job in jobs:
            row = job.found_in(rows)
            print(f"{title(job)}  {' '.join(job.settings)}: {outcome(row) if row else 'missing'}")
        if not jobs:
            print(f"{name}: to be chosen from the screen")


def title(job: Job) -> str:
    """A run in a few words."""
    return f"{job.round}, seed {job.seed}, {job.experiment}/{job.arm}"


class Bench:
    """A text, and a folder to train in.

    Args:
        text: the stories.
        work: keeps prepared data for the next time; runs are removed once they are measured.
        threads: of each run.

    `origin` is what all lines must have in common.
    """

    def __init__(self, text: Path, work: Path, threads: int = 1) -> None:
        if not text.is_file():
            raise DataError(f"no text at {text}: name a file of stories with --text")
        self.text = text
        self.origin = {
            "text": text.name,
            "text_sha256": hashlib.sha256(text.read_bytes()).hexdigest()[:12],
            "base_sha256": hashlib.sha256(base_config().model_dump_json().encode()).hexdigest()[:12],
        }
        self._work = work / self.origin["text_sha256"]
        self._threads = threads
        shutil.rmtree(self._work / "runs", ignore_errors=True)  # those that were killed

    def begin(self, job: Job, pace: float | None) -> Future[Row]:
        """Train and measure in a process of its own.

        Returns:
            What a line will hold beside the job; `failed` instead of the figures where training diverges.
        """
        common = (*COMMON, f"train.threads={self._threads}", f"train.seed={job.seed}")
        base, arm = (Side((*common, *settings), self.data_for(settings)) for settings in ((), job.settings))
        (self._work / "runs").mkdir(exist_ok=True)
        rules, runs = ROUNDS[job.round], self._work / "runs"
        return begin_in_own_process(run_arm, base, arm, rules, pace, runs, self.origin)

    def data_for(self, settings: Sequence[str]) -> Path:
        """The data folder with the vocabulary that is asked for, prepared where it is not there yet."""
        asked = apply_settings(base_config(), settings).data
        folder = self._work / f"{asked.tokenizer}-{asked.vocab_size}"
        if not folder.exists():
            storyloom.prepare(self.text, out=folder, preset=asked, val_fraction=VAL_FRACTION)
        return folder


@dataclass(frozen=True)
class Side:
    """The base, or an arm: all its settings, and the data folder with its vocabulary."""

    settings: tuple[str, ...]
    data: Path


def run_arm(base: Side, arm: Side, rules: Round, pace: float | None, runs: Path, origin: Row) -> Row:
    """Measure the arm's pace where it is not known, then train it; returns what a line holds beside the job."""
    started = time.perf_counter()
    pace = pace or measure_pace(base, arm)
    figures = train_and_measure(arm, rules.tokens_at(pace), runs)
    seconds = {"pace": pace, "seconds": round(time.perf_counter() - started, 1)}
    machine = {"cpu": processor_name(), "torch": version("torch"), "storyloom": version("storyloom")}
    return {**figures, **seconds, **origin, **machine, "date": datetime.now(UTC).date().isoformat()}


def measure_pace(base: Side, arm: Side) -> float:
    """How many tokens/s the arm trains on for one of the base's, its free settings left out."""
    runtime = choose_runtime(apply_settings(base_config(), base.settings).train)
    trainers = {name: trainer_of(side, runtime) for name, side in (("base", base), ("arm", arm))}
    for trainer in trainers.values():
        for _ in range(WARM_UP):
            trainer.update()
    times = take_turns({name: trainer.update for name, trainer in trainers.items()}, PACE_SECONDS, runtime.device)
    tokens = {name: trainer.tokens / trainer.step for name, trainer in trainers.items()}  # an update
    torch.compiler.reset()  # what is trained next is not to search through these
    return round(median_ratio(times["base"], times["arm"]) * tokens["arm"] / tokens["base"], 3)


def trainer_of(side: Side, runtime: Runtime) -> Trainer:
    """A throwaway trainer that costs what one side does."""
    config, data = apply_settings(base_config(), (*costly(side.settings), *SLOW_START)), Data(side.data)
    config = config.with_(model=config.model.with_(vocab_size=data.tokenizer.vocab_size))
    return Trainer(config, data, runtime)


def train_and_measure(arm: Side, tokens: int, runs: Path) -> Row:
    """Train an arm on so many tokens in a folder that is then removed; returns its figures, or how it `failed`."""
    settings = (*arm.settings, f"train.max_tokens={tokens}")
    with TemporaryDirectory(dir=runs) as folder:
        try:
            return figures_of(
                storyloom.train(arm.data, out=folder, config=BASE_CONFIG, settings=settings, progress=False).path
            )
        except TrainingDiverged as error:
            return {"failed": str(error)}


if __name__ == "__main__":
    sys.exit(main())
