"""Train five published story models and ours on the same text for the same time, and measure them alike.

    python benchmarks/systems.py --text TRAIN.txt --val VALID.txt [--minutes 10] [--systems NAME...]
    python benchmarks/systems.py --list | --write

They run one after another, each in a process of its own with all cores; keep the machine free of other work. A
finished run is one line of `benchmarks/systems.jsonl`. Called again, the script goes on with what is missing; a run
that was stopped or killed is begun anew, and so is one that failed, once its line is removed. At the end
`docs/results.md` is written anew from these lines.
"""

import argparse
import hashlib
import math
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from statistics import fmean
from tempfile import TemporaryDirectory

from machine import begin_in_own_process, no_survivors, read_proc, result_of
from results import Row, figures_of, outcome, read_results, refuse_mixture, write_results
from systems_contestants import PROMPT, SEED, Contestant, Job, data_settings, jobs_of, new_tokens, tell_command
from systems_report import document

import storyloom
from storyloom.errors import ConfigError, DataError, StoryloomError, TrainingDiverged
from storyloom.files import sha256_of, write_text
from storyloom.runs.layout import METRICS
from storyloom.runs.rows import FinalRow, StartRow, TrainRow, read_rows
from storyloom.runs.rows import Row as MetricsRow
from storyloom.runtime.device import count_cores
from storyloom.runtime.machine import processor_name

PROJECT = Path(__file__).parents[1]
RESULTS = PROJECT / "benchmarks" / "systems.jsonl"
DOCUMENT = PROJECT / "docs" / "results.md"
WORK = PROJECT / "runs" / "systems"
LAST = 100  # the last training loss is the mean of the last update in so many


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; the exit status."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if None in (asked.text, asked.val) and not (asked.list or asked.write):
        parser.error("--text or --val is missing: name the text to train on and the stories to measure with")
    try:
        if not 0 < asked.minutes < math.inf:
            raise ConfigError(f"--minutes {asked.minutes:g} must be above 0 and finite: for example --minutes 10")
        jobs = jobs_of(asked.minutes, asked.systems)
        if asked.list:
            show(jobs, read_results(RESULTS))
            return 0
        if not asked.write:
            bench = Bench(asked.text, asked.val, asked.work)
            refuse_mixture(read_results(RESULTS), bench.origin)
            run_missing(jobs, RESULTS, bench.run, bench.data_for)
        DOCUMENT.parent.mkdir(exist_ok=True)
        write_text(DOCUMENT, document(read_results(RESULTS)))
    except StoryloomError as error:
        print(f"systems: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("systems: interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, help="stories to train on")
    parser.add_argument("--val", type=Path, help="stories to measure with")
    parser.add_argument("--minutes", type=float, default=10.0, help="wall-clock time of each, by default 10")
    # Not --only, which torch's compiler reads from the command line.
    parser.add_argument("--systems", nargs="+", default=[], metavar="NAME", help="run these, by default all")
    parser.add_argument("--list", action="store_true", help="print all runs and what is finished")
    parser.add_argument("--write", action="store_true", help="only write the document")
    parser.add_argument("--work", type=Path, default=WORK, help="folder for data and the runs in progress")
    return parser


def run_missing(
    jobs: Sequence[Job], results: Path, run: Callable[[Job], Row], prepare: Callable[[Contestant], object]
) -> None:
    """Run in order what has no line yet, and write the line of each as it ends.

    All data is prepared before the first run: what cannot be prepared is said before an hour has passed.
    """
    rows = read_results(results)
    missing = [job for job in jobs if not job.found_in(rows)]
    for job in missing:
        prepare(job.contestant)
    for job in missing:
        print(f"{title(job)} ...", file=sys.stderr)
        rows.append({**job.as_row(), **run(job)})
        write_results(results, rows)
        print(f"{title(job)}: {outcome(rows[-1])}", file=sys.stderr)


def show(jobs: Sequence[Job], rows: Sequence[Row]) -> None:
    """Print each run, and how it ended where it has."""
    for job in jobs:
        row = job.found_in(rows)
        print(f"{title(job)}: {outcome(row) if row else 'missing'}")


def title(job: Job) -> str:
    """A run in a few words."""
    return f"{job.name}, {job.minutes:g} minutes"


class Bench:
    """Two texts, and a folder to train in.

    Args:
        text: the stories to train on.
        val: the stories to measure with.
        work: keeps prepared data for the next time; runs are removed once they are measured.

    `origin` is what all lines must have in common.
    """

    def __init__(self, text: Path, val: Path, work: Path) -> None:
        self.origin: Row = {}
        for role, path in (("text", text), ("val", val)):
            if not path.is_file():
                raise DataError(f"no text at {path}: name a file of stories with --{role}")
            self.origin |= {
                role: path.name,
                f"{role}_sha256": sha256_of(path)[:12],
                f"{role}_bytes": path.stat().st_size,
            }
        self._text, self._val = text, val
        self._work = work / "-".join(self.origin[f"{role}_sha256"] for role in ("text", "val"))
        self._runs = self._work / "runs"
        shutil.rmtree(self._runs, ignore_errors=True)  # those that were killed

    def run(self, job: Job) -> Row:
        """Train and measure in a process of its own; returns what its line holds beside the job."""
        self._runs.mkdir(parents=True, exist_ok=True)
        with no_survivors():
            begun = begin_in_own_process(measure, job, self.data_for(job.contestant), self._runs)
            figures = result_of(begun, title(job))
        commands = job.commands(self.origin["text"], self.origin["val"])
        return {**figures, "commands": commands, **self.origin}

    def data_for(self, contestant: Contestant) -> Path:
        """Its data folder, prepared where it is not there yet."""
        settings = data_settings(contestant, self.origin["text_bytes"])
        val = None if contestant.own_split else self._val
        made_from = f"{settings.model_dump_json()} {contestant.own_split}"
        folder = self._work / f"{settings.tokenizer}-{hashlib.sha256(made_from.encode()).hexdigest()[:8]}"
        if not folder.exists():
            print(f"preparing {self._text.name} as {contestant.data_preset} has it", file=sys.stderr)
            storyloom.prepare(self._text, out=folder, preset=settings, val=val)
        return folder


def measure(job: Job, data: Path, runs: Path) -> Row:
    """Train in a folder that is then removed, evaluate and tell; or say how it `failed`."""
    contestant = job.contestant
    with TemporaryDirectory(dir=runs) as folder:
        # Nobody finds compiled already what an earlier run left in the compiler's cache.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(folder) / "compiled")
        try:
            run = storyloom.train(
                data,
                out=Path(folder) / "run",
                preset=contestant.preset,
                settings=contestant.settings,
                minutes=job.minutes,
                progress=False,
            )
            figures = {
                **figures_of(run.path),
                **losses_of(read_rows(run.path / METRICS)),
                # Of this process alone: `getrusage` begins with the peak of the one that started it.
                "peak_memory": read_proc("status", "VmHWM"),
                "samples": tell(run.path, contestant),
            }
        except (TrainingDiverged, ConfigError) as error:  # for one, the minutes are too few for an update
            figures = {"failed": str(error)}
    machine = {"cpu": processor_name(), "cores": count_cores()}
    versions = {"python": python_version(), **{name: version(name) for name in ("torch", "storyloom")}}
    return {**figures, **machine, **versions, "date": datetime.now(UTC).date().isoformat()}


def losses_of(rows: Sequence[MetricsRow]) -> Row:
    """From a run's metrics: training losses, minutes, and whether the bits/byte may be compared."""
    updates = [row for row in rows if isinstance(row, TrainRow)]
    (start,) = (row for row in rows if isinstance(row, StartRow))
    (final,) = (row for row in rows if isinstance(row, FinalRow))
    ends = {"first": updates[:1], "last": updates[-last_updates(len(updates)) :]}
    kinds = {"nats_per_token": "loss", "bits_per_byte": "bits_per_byte"}
    return {
        **{
            f"{end}_training_{kind}": round(fmean(getattr(row, name) for row in ends[end]), 4)
            for end in ends
            for kind, name in kinds.items()
        },
        "device": start.device,
        "minutes_taken": final.minutes,
        "comparable": final.comparable,
        "why_not_comparable": final.why_not_comparable,
        "held_out_sha256": final.text_sha256[:12],
    }


def last_updates(updates: int) -> int:
    """How many updates the last training loss is the mean of.

    >>> last_updates(53), last_updates(1709)
    (1, 17)
    """
    return max(1, updates // LAST)


def tell(run: Path, contestant: Contestant) -> list[Row]:
    """A sample by each of the system's own strategies."""
    teller, tokens = storyloom.load(run), new_tokens(contestant)
    return [
        {
            "strategy": strategy,
            "options": dict(options),
            "command": tell_command(strategy, options, tokens),
            "story": teller.tell(PROMPT, strategy=strategy, max_new_tokens=tokens, seed=SEED, **options),
        }
        for strategy, options in contestant.decoding.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
