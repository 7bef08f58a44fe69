"""`write_report`: one run as one self-contained page."""

import os
from dataclasses import dataclass
from pathlib import Path

from storyloom.reporting import charts, stories
from storyloom.reporting.curves import updates_in_a_point
from storyloom.reporting.diagnosis import diagnose
from storyloom.reporting.page import check_place, render, rounded, write_page
from storyloom.reporting.record import STORYBOOK, TINYSTORIES, Measured, Record
from storyloom.reporting.references import TINYSTORIES_LOSSES
from storyloom.reporting.settings import commands, settings_of
from storyloom.reporting.summary import headline
from storyloom.runs import Run
from storyloom.runs.rows import FinalRow

REPORT = "report.html"


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
        checkpoint: `best` or `last`, for the stories and the figures; by default `best` if there is one.

    Returns:
        The path of the page.

    Raises:
        RunError: the run is missing or has not made a step yet, or `out` is not a place for a page.
        CheckpointError: the checkpoint is missing or damaged.
    """
    record = Record(run)
    path = check_place(record.run.path / REPORT if out is None else out)
    checkpoint = checkpoint or record.checkpoint
    html = render(
        "report.html.j2",
        title=record.name,
        headline=headline(record),
        tiles=tiles(record, checkpoint or "best"),
        findings=diagnose(record),
        losses=[charts.loss_chart(record), charts.closeup_chart(record)],
        others=[charts.rate_chart(record), charts.norm_chart(record), charts.speed_chart(record)],
        updates_in_a_point=updates_in_a_point(len(record.train)),
        bytes_per_token=record.bytes_per_token,
        is_scored=record.is_scored,
        marks=scale(record, checkpoint or "best"),
        text_kind=record.text_kind,
        is_finished=record.final is not None,
        frames=stories.film(record),
        told=len(record.samples),
        checkpoint=checkpoint,
        strategies=stories.by_each_strategy(record, checkpoint),
        max_new_tokens=stories.MAX_NEW_TOKENS,
        settings=settings_of(record.config),
        commands=commands(record),
        origin=record.run.origin,
    )
    return write_page(path, html)


def tiles(record: Record, checkpoint: str) -> list[Tile]:
    """The key figures."""
    found = record.measured(checkpoint)
    speed = Tile("tokens/s", f"{record.tokens_per_second:,.0f}", "of training, without evaluations")
    if found is None:
        loss = record.training_loss_at(record.last.step)
        return [Tile("training loss", f"{loss:.3f}", "nats/token, not evaluated yet"), speed]
    row = found.row
    of_what = f"{row.stories:,} validation stories, {_weights(found, checkpoint)}"
    if record.why_not_comparable:
        of_what += f"; not comparable: {record.why_not_comparable}"
    shown = [Tile("bits/byte", f"{row.bits_per_byte:.4f}", of_what, rounded(row.bits_per_byte_stderr, 4))]
    if isinstance(row, FinalRow) and row.limit_bits_per_byte is not None:
        gap, stderr = f"{row.gap_bits_per_byte:.4f}", rounded(row.gap_bits_per_byte_stderr, 4)
        note = "bits/byte, the best any model can do on average"
        shown.append(Tile("exact limit", f"{row.limit_bits_per_byte:.4f}", note))
        shown.append(Tile("gap to it", gap, "bits/byte", stderr))
    note = f"{row.bytes / row.tokens:.2f} bytes a token"
    shown.append(Tile("nats/token", f"{row.nats_per_token:.4f}", note))
    shown.append(Tile("perplexity", f"{row.perplexity:.3f}", "e to the nats/token"))
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
        note = f"this run at step {found.step:,}" + (", not comparable" if record.why_not_comparable else "")
        marks.append(Mark(record.name, found.row.bits_per_byte, note, is_ours=True))
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
