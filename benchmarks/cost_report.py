"""The figures of `cost.json` as a page and a picture, with what one formula expects beside each measured speed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullFormatter, NullLocator

from storyloom.reporting.plots import BLUE, GREY, ORANGE

INTRODUCTION = """# What training costs as work grows

A token costs a number of operations that the model's shape tells (`storyloom.model.count_flops_per_token`); the machine
does so many a second in a matrix product; training reaches a share of that, its utilisation. Were this share the same
for every shape, one measured shape would tell the speed of all:

    tokens/s = utilisation of {reference} x matrix product / operations per token

*expected* is that figure, and *to expected* what was measured, divided by it: below 1 a shape makes worse use of the
machine than the reference.

![Tokens per second against parameters and against context, measured and expected](cost.png)

This page and its picture are written by `benchmarks/cost.py` from `cost.json`.
"""
SPEEDS = """| layers x width | context | parameters | MFLOP/token | tokens/s | utilisation | expected | to expected |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
"""
MEMORY = """## Memory against the size of the text

The preset `{preset}` for {updates} updates, not compiled, in a process of its own for each text; the larger texts are
the smallest one's stories over and over. *resident* is the peak of resident memory (`VmHWM`), which counts those pages
of the text's files that happen to be in memory; *anonymous* is the peak of memory that is no file's (`Anonymous` in
`smaps_rollup`, looked at every few milliseconds), which is what training needs.

| tokens of text | on disk | resident | anonymous |
| ---: | ---: | ---: | ---: |
"""

Row = Mapping[str, Any]


def expected_speed(flops_per_token: float, utilisation: float, gflops: float) -> float:
    """Tokens a second of a model, at a share of the machine's speed in GFLOP/s.

    >>> expected_speed(30e6, utilisation=0.5, gflops=600)
    10000.0
    """
    return utilisation * gflops * 1e9 / flops_per_token


def with_expectations(figures: Row) -> list[dict[str, Any]]:
    """The rows of all shapes, with the tokens/s that the reference's utilisation promises as `expected`."""
    (reference,) = (row for row in figures["shapes"] if row["name"] == figures["reference"])
    share, ceiling = reference["utilisation"], figures["ceiling_gflops"]
    return [{**row, "expected": expected_speed(row["flops_per_token"], share, ceiling)} for row in figures["shapes"]]


def ladder(rows: Sequence[Row], reference: Row) -> list[Row]:
    """The reference's context and attention, by parameters."""
    kept = [row for row in rows if _same(row, reference, "block_size", "attention")]
    return sorted(kept, key=lambda row: row["parameters"])


def windows(rows: Sequence[Row], reference: Row) -> list[Row]:
    """The reference's model, by context."""
    kept = [row for row in rows if _same(row, reference, "n_layer", "n_embd")]
    return sorted(kept, key=lambda row: row["block_size"])


def _same(row: Row, other: Row, *names: str) -> bool:
    return all(row[name] == other[name] for name in names)


def _panels(figures: Row) -> tuple[list[Row], list[Row]]:
    rows = with_expectations(figures)
    (reference,) = (row for row in rows if row["name"] == figures["reference"])
    return ladder(rows, reference), windows(rows, reference)


def document(figures: Row) -> str:
    """All of it as Markdown."""
    by_parameters, by_context = _panels(figures)
    memory = figures["memory"]
    parts = [
        INTRODUCTION.format(reference=figures["reference"]),
        circumstances(figures),
        "## Speed against parameters\n\n" + SPEEDS + "".join(map(speed_line, by_parameters)),
        "## Speed against context\n\n" + SPEEDS + "".join(map(speed_line, by_context)),
        MEMORY.format(preset=figures["preset"], updates=memory[0]["updates"]) + "".join(map(memory_line, memory)),
    ]
    return "\n".join(parts)


def circumstances(figures: Row) -> str:
    """Machine, versions, settings and date, as a list."""
    compiled = "compiled" if figures["compiled"] else "not compiled"
    facts = {
        "machine": f"{figures['cpu']}, {figures['device']}, {figures['threads']} threads; "
        f"matrix product {figures['ceiling_gflops']:,.0f} GFLOP/s in {figures['precision']}",
        "training step": f"{figures['precision']}, {compiled}, {figures['tokens_per_update']:,} tokens an update",
        "model": f"heads of 64, vocabulary {figures['vocab_size']:,}, AdamW, one micro-batch, all else as in the "
        f"preset `{figures['preset']}`, whose attention is written out; *fused* is PyTorch's kernel",
        "measured": f"medians over {figures['rounds']} rounds, in each of which every shape makes an update",
        "versions": f"torch {figures['torch']}, storyloom {figures['storyloom']}",
        "date and command": f"{figures['date']}, `{figures['command']}`, {figures['minutes']} minutes",
    }
    return "".join(f"- {name}: {fact}\n" for name, fact in facts.items())


def speed_line(row: Row) -> str:
    """A shape's line of the table."""
    context = f"{row['block_size']:,}" + ", fused" * (row["attention"] == "sdpa")
    return (
        f"| {row['n_layer']} x {row['n_embd']} | {context} | {row['parameters'] / 1e6:.2f}M "
        f"| {row['flops_per_token'] / 1e6:.1f} | {row['tokens_per_second']:,.0f} | {row['utilisation']:.0%} "
        f"| {row['expected']:,.0f} | {row['tokens_per_second'] / row['expected']:.2f} |\n"
    )


def memory_line(row: Row) -> str:
    """A text's line of the table."""
    sizes = ("-" if row[name] is None else f"{row[name] / 1e6:,.0f} MB" for name in ("resident", "anonymous"))
    return f"| {row['tokens']:,} | {row['disk'] / 1e6:,.1f} MB | {' | '.join(sizes)} |\n"


def draw(figures: Row, path: Path) -> None:
    """Two panels: tokens/s against parameters and against context, as expected and as measured."""
    by_parameters, by_context = _panels(figures)
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    draw_speeds(left, [row["parameters"] / 1e6 for row in by_parameters], by_parameters)
    left.set_xscale("log")
    left.set_yscale("log")
    left.set_xlabel(f"parameters, millions (context {by_parameters[0]['block_size']})")
    for axis in (left.xaxis, left.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter("{x:,g}")
        axis.set_minor_formatter(NullFormatter())
    contexts = [row["block_size"] for row in by_context]
    draw_speeds(right, contexts, by_context)
    right.set_xscale("log", base=2)
    right.xaxis.set_major_locator(FixedLocator(contexts))
    right.xaxis.set_minor_locator(NullLocator())
    right.xaxis.set_major_formatter("{x:g}")
    right.yaxis.set_major_formatter("{x:,g}")
    right.set_ylim(bottom=0)
    right.set_xlabel(f"context, tokens ({by_context[0]['n_layer']} x {by_context[0]['n_embd']})")
    left.set_ylabel("training tokens/s")
    right.legend(frameon=False)
    figure.savefig(path, dpi=120)


def draw_speeds(axes: Axes, places: Sequence[float], rows: Sequence[Row]) -> None:
    """Expectations as a line, medians as points with their quartiles; the fused attention in a colour of its own."""
    axes.plot(places, [row["expected"] for row in rows], "--", color=GREY, label="expected from one shape")
    for attention, color in (("eager", BLUE), ("sdpa", ORANGE)):
        shown = [(place, row) for place, row in zip(places, rows, strict=True) if row["attention"] == attention]
        if shown:
            speeds = [row["tokens_per_second"] for _, row in shown]
            slow, fast = zip(*(row["quartiles"] for _, row in shown), strict=True)
            reach = [
                [speed - low for speed, low in zip(speeds, slow, strict=True)],
                [high - speed for speed, high in zip(speeds, fast, strict=True)],
            ]
            label = "measured" if attention == "eager" else "measured, fused attention"
            axes.errorbar([place for place, _ in shown], speeds, reach, fmt="o", color=color, markersize=5, label=label)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
