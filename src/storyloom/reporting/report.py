"""`write_report`: one run as one self-contained page."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from storyloom.evaluation import StrategyQuality, compare_strategies
from storyloom.generation import load
from storyloom.reporting import charts
from storyloom.reporting.diagnosis import diagnose
from storyloom.reporting.page import check_place, megabytes, render, rounded, short, write_page
from storyloom.reporting.record import STORYBOOK, TINYSTORIES, Measured, Record
from storyloom.reporting.references import TINYSTORIES_LOSSES
from storyloom.reporting.settings import commands, settings_of
from storyloom.runtime import Run
from storyloom.runtime.run import CHECKPOINTS

REPORT = "report.html"
MAX_NEW_TOKENS = 200  # of each strategy's story
FRAMES = 24  # of the film at most
MOST_NAMES = 3  # of the files that the text came from


@dataclass(frozen=True)
class Frame:
    """A story told on the way."""

    step: int
    tokens: int
    loss: float
    """The mean of the latest training losses, nats/token."""
    story: str


@dataclass(frozen=True)
class Tile:
    """A key figure."""

    name: str
    value: str
    note: str
    stderr: str = ""


@dataclass(frozen=True)
class Mark:
    """A loss on the scale of bits/byte."""

    label: str
    bits_per_byte: float
    note: str
    is_ours: bool = False


def write_report(
    run: Run | str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    checkpoint: str | None = None,
) -> Path:
    """Write a run as one HTML page: what was trained on what, its curves and what they say, and what it tells.

    The page needs nothing but itself: no network, no scripts. The same run gives the same bytes on the same machine.

    Args:
        run: the run, or its folder; it may be unfinished.
        out: the file; `report.html` in the run folder by default. Only a page of storyloom's is replaced.
        checkpoint: `best` or `last`, for the stories and the figures; by default `best` where there is one.

    Returns:
        The path of the page.

    Raises:
        RunError: the run is missing or has not made a step yet, or `out` is no place for a page.
        CheckpointError: the checkpoint is missing or damaged.
    """
    record = Record(run)
    path = Path(out) if out is not None else record.run.path / REPORT
    check_place(path)
    checkpoint = checkpoint or found_checkpoint(record.run)
    html = render(
        "report.html.j2",
        title=record.name,
        headline=headline(record),
        tiles=tiles(record, checkpoint or "best"),
        findings=diagnose(record),
        losses=[charts.loss_chart(record), charts.closeup_chart(record)],
        others=[charts.rate_chart(record), charts.norm_chart(record), charts.speed_chart(record)],
        bytes_per_token=record.bytes_per_token,
        marks=scale(record, checkpoint or "best"),
        text_kind=record.text_kind,
        frames=film(record),
        told=len(record.samples),
        checkpoint=checkpoint,
        strategies=_tell(record, checkpoint) if checkpoint else [],
        max_new_tokens=MAX_NEW_TOKENS,
        settings=settings_of(record.config),
        commands=commands(record),
        origin=record.run.origin,
    )
    return write_page(path, html)


def found_checkpoint(run: Run) -> str | None:
    """The checkpoint to take where none is named; None before the first one."""
    return next((name for name in CHECKPOINTS if run.has_checkpoint(name)), None)


def _tell(record: Record, checkpoint: str) -> Sequence[StrategyQuality]:
    return compare_strategies(load(record.run.path, checkpoint), max_new_tokens=MAX_NEW_TOKENS)


def headline(record: Record) -> str:
    """What was trained on what, for how long, on which machine, in a sentence."""
    start, epochs = record.starts[-1], record.last["epoch"]
    where = f"the CPU with {_threads(start['threads'])}" if start["device"] == "cpu" else f"a {start['device']} device"
    how = f"in {start['precision']}" + (", the training step compiled" if start["compiled"] else "")
    return (
        f"A GPT of {short(start['parameters'])} parameters, trained on {text_of(record)}. "
        f"It saw {short(record.last['tokens'])} tokens, {rounded(epochs, 1 if epochs < 10 else 0)} epochs, "
        f"in {_minutes(record.minutes)} on {where}, {how}."
    )


def text_of(record: Record) -> str:
    """The training text, with its size where the data is still there."""
    if record.data is None:
        return "a text that is no longer where it was"
    names = [Path(source).name for source in record.data.manifest["sources"]]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    train = record.data.manifest["train"]
    return (
        f"{', '.join(names[:MOST_NAMES])}{more} ({train['stories']:,} stories, "
        f"{megabytes(train['bytes'])}, {short(train['tokens'])} tokens of a vocabulary of "
        f"{record.config.model.vocab_size:,})"
    )


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _minutes(minutes: float) -> str:
    return f"{minutes / 60:.1f} hours" if minutes >= 100 else f"{minutes:.1f} minutes"


def tiles(record: Record, checkpoint: str) -> list[Tile]:
    """The key figures."""
    found = record.measured(checkpoint)
    speed = Tile("tokens/s", f"{record.tokens_per_second:,.0f}", "of training, without evaluations")
    if found is None:
        return [
            Tile(
                "training loss", f"{record.training_loss_at(record.last['step']):.3f}", "nats/token, not evaluated yet"
            ),
            speed,
        ]
    row = found.row
    of_what = f"{row['stories']:,} validation stories, {_weights(found, checkpoint)}"
    if not row.get("comparable", True):
        of_what += f"; not comparable: {row['why_not_comparable']}"
    shown = [Tile("bits/byte", f"{row['bits_per_byte']:.4f}", of_what, rounded(row["bits_per_byte_stderr"], 4))]
    if "limit_bits_per_byte" in row:
        gap, stderr = f"{row['gap_bits_per_byte']:.4f}", rounded(row["gap_bits_per_byte_stderr"], 4)
        shown.append(Tile("exact limit", f"{row['limit_bits_per_byte']:.4f}", "bits/byte, no model can do better"))
        shown.append(Tile("gap to it", gap, "bits/byte", stderr))
    shown.append(Tile("nats/token", f"{row['nats_per_token']:.4f}", f"{record.bytes_per_token:.2f} bytes a token"))
    shown.append(Tile("perplexity", f"{row['perplexity']:.3f}", "e to the nats/token"))
    return [*shown, speed]


def _weights(found: Measured, checkpoint: str) -> str:
    return f"the weights of step {found.step:,} ({checkpoint})" if found.is_all else f"at step {found.step:,}"


def scale(record: Record, checkpoint: str) -> list[Mark]:
    """This run among other losses in bits/byte, the highest first: published ones of TinyStories, limit, guess."""
    found = record.measured(checkpoint)
    marks = []
    if record.text_kind != TINYSTORIES:  # there the others' losses are yardstick enough
        marks.append(Mark("a guess that knows nothing", record.bits(record.uniform_loss), "ln(vocabulary)"))
    if found:
        marks.append(Mark(record.name, found.row["bits_per_byte"], "this run", is_ours=True))
    marks += [Mark("the exact limit", record.bits(limit), "of these stories") for limit in record.limits]
    if record.text_kind != STORYBOOK:
        marks += [
            Mark(
                published.model,
                published.bits_per_byte,
                f"{published.nats_per_token} nats/token{', training loss' if published.is_training_loss else ''}; "
                f"{published.source}",
            )
            for published in TINYSTORIES_LOSSES
        ]
    return sorted(marks, key=lambda mark: -mark.bits_per_byte)


def film(record: Record, most: int = FRAMES) -> list[Frame]:
    """The stories told on the way; of many, some spread evenly from the first to the last."""
    samples, count = record.samples, len(record.samples)
    kept = samples if count <= most else [samples[i * (count - 1) // (most - 1)] for i in range(most)]
    return [
        Frame(row["step"], record.tokens_at(row["step"]), record.training_loss_at(row["step"]), row["story"])
        for row in kept
    ]
