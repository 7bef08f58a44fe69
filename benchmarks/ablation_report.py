"""The results as a document: one table an experiment, every figure from the lines of results and nowhere else."""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev

from ablation_arms import EXPERIMENTS, ROUNDS, THE_BASE, Arm, Experiment, Job
from results import Row

INTRODUCTION = """# What the preset `laptop` is made of

Each experiment changes one thing in the base, `benchmarks/ablation_base.toml`: the preset before it took what was found
here. Smaller bits/byte are better.
A screen gives every arm, once, the tokens that it would see while the base sees its own: the time is the same, and a
slower arm sees fewer. A confirmation gives the best arms the same number of tokens, with several seeds. A seed is an
order of the data, the same in arms with like rows.

- *speed* is how many tokens/s an arm trains on for one of the base's: updates of both in turns, the median over rounds.
  Where there is none the arm costs what the base does.
- *bits/byte* is the mean over seeds, on held-out stories of the same text that no arm is trained on.
- *± over seeds* is their standard deviation; nothing where there is one seed.
- *to the base* is the arm less the base, seed by seed; below 0 the arm is better. Its ± is the standard error of their
  mean. Without one, a small difference may well be chance.

Rows marked *not run yet* are planned. What one seed finds goes into the preset once several seeds confirm it.

This page is written by `benchmarks/ablate.py` from `benchmarks/ablations.jsonl`.
"""
HEAD = """| arm | settings | budget | speed | seeds | tokens | bits/byte | ± over seeds | to the base |
| --- | --- | --- | ---: | --- | ---: | ---: | ---: | ---: |"""
COLUMNS = 9


def document(rows: Sequence[Row]) -> str:
    """All of it as Markdown: how it was measured, then each experiment with its arms, also those not run yet."""
    tables = (section(name, experiment, rows) for name, experiment in EXPERIMENTS.items())
    return "\n".join([INTRODUCTION, circumstances(rows), *tables])


def circumstances(rows: Sequence[Row]) -> str:
    """Text, machine, versions, days and time of all lines, as a list."""
    if not rows:
        return "Nothing has been measured yet.\n"
    measured = [row for row in rows if "failed" not in row]
    facts = {
        "text": _all(f"`{row['text']}` (SHA-256 {row['text_sha256']}...)" for row in rows),
        "measured on": _all(
            f"{row['held_out_stories']:,} held-out stories, {row['held_out_bytes']:,} bytes" for row in measured
        ),
        "standard error over these stories": f"at most {largest_error(measured):.3f} bits/byte; the arms share the "
        "stories, so that their differences are surer than that",
        "machine": _all(
            f"{row['cpu']}, {row['threads']} thread{'s' if row['threads'] > 1 else ''}, {row['precision']}, "
            f"the training step {'compiled' if row['compiled'] else 'not compiled'}"
            for row in measured
        ),
        "versions": _all(f"torch {row['torch']}, storyloom {row['storyloom']}" for row in rows),
        "days": _all(row["date"] for row in rows),
        "runs": f"{len(rows)}, their minutes added up: {sum(row['seconds'] for row in rows) / 60:.0f}; some at once",
    }
    return "".join(f"- {name}: {fact}\n" for name, fact in facts.items())


def largest_error(rows: Sequence[Row]) -> float:
    """The largest standard error over stories, bits/byte."""
    return max((row["bits_per_byte_stderr"] for row in rows), default=math.nan)


def section(name: str, experiment: Experiment, rows: Sequence[Row]) -> str:
    """One experiment: its question, and a table with each arm in each round."""
    lines = [
        f"## {name}",
        "",
        experiment.question,
        "",
        HEAD,
        table_line(f"{experiment.base} (base)", THE_BASE, "screen", rows),
    ]
    arms: list[Arm] = [(name, arm, settings) for arm, settings in experiment.arms.items()]
    lines += [table_line(arm[1], arm, "screen", rows) for arm in arms]
    if again := [arm for arm in arms if seeds_of(arm, "confirm", rows)]:
        lines += [table_line(f"{experiment.base} (base)", THE_BASE, "confirm", rows)]
        lines += [table_line(arm[1], arm, "confirm", rows) for arm in again]
    return "\n".join([*lines, ""])


def table_line(label: str, arm: Arm, name: str, rows: Sequence[Row]) -> str:
    """An arm in a round: means over the seeds that are finished."""
    settings = " ".join(f"`{setting}`" for setting in arm[2])
    found = seeds_of(arm, name, rows)
    if not found:
        return _row(label, settings, "not run yet")
    pace = next(iter(found.values()))["pace"]
    speed = "" if pace == 1 else f"{pace:.2f}"
    shown = (label, settings, ROUNDS[name].budget, speed, ", ".join(map(str, found)))
    if any("failed" in row for row in found.values()):
        return _row(*shown, "", "diverged")
    bits = [row["bits_per_byte"] for row in found.values()]
    tokens = fmean(row["tokens"] for row in found.values())
    spread = f"{stdev(bits):.4f}" if len(bits) > 1 else ""
    to_base = "" if arm == THE_BASE else difference(found, seeds_of(THE_BASE, name, rows))
    return _row(*shown, f"{tokens:,.0f}", f"{fmean(bits):.4f}", spread, to_base)


def seeds_of(arm: Arm, name: str, rows: Sequence[Row]) -> dict[int, Row]:
    """The lines of an arm in a round, by seed."""
    found = {seed: Job(*arm, name, seed).found_in(rows) for seed in ROUNDS[name].seeds}
    return {seed: row for seed, row in found.items() if row is not None}


def difference(arm: dict[int, Row], base: dict[int, Row]) -> str:
    """The mean of arm less base over the seeds that both have, and its standard error from two on; bits/byte."""
    pairs = [(row, base[seed]) for seed, row in arm.items() if seed in base and "failed" not in base[seed]]
    if not pairs:
        return ""
    differences = [row["bits_per_byte"] - other["bits_per_byte"] for row, other in pairs]
    error = f" ± {stdev(differences) / math.sqrt(len(differences)):.4f}" if len(differences) > 1 else ""
    return f"{fmean(differences):+.4f}{error}"


def _row(*cells: str) -> str:
    """A line of the table, the cells to the right left empty."""
    return "| " + " | ".join([*cells, *[""] * (COLUMNS - len(cells))]) + " |"


def _all(facts: Iterable[str]) -> str:
    """Every different fact, once."""
    return "; ".join(dict.fromkeys(facts)) or "nothing yet"
