"""Plots of a run: losses, learning rate and gradient norm over training tokens."""

import os
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from storyloom.reporting.charts import loss_span, style
from storyloom.reporting.curves import window_of
from storyloom.reporting.record import Record
from storyloom.runtime import Run

BLUE, ORANGE, GREY = "#2a6fbb", "#d9730d", "#8a8a8a"


def plot_losses(run: Run | str | os.PathLike[str]) -> Path:
    """Draw `loss.png` into a run folder: training and validation loss, learning rate, gradient norm.

    Args:
        run: the run, or its folder.

    Returns:
        The path of the picture.

    Raises:
        RunError: the run has not made a step yet.
    """
    record = Record(run)
    figure = Figure(figsize=(9, 8), layout="constrained")
    FigureCanvasAgg(figure)
    loss, rate, norm = figure.subplots(3, 1, sharex=True, height_ratios=[3, 1, 1])
    _draw_losses(loss, record)
    tokens = record.column("tokens") / 1e6
    rate.plot(tokens, record.column("learning_rate"), style(tokens), color=BLUE)
    rate.set_ylabel("learning rate")
    norm.semilogy(tokens, record.column("grad_norm"), style(tokens), color=GREY, linewidth=0.6)
    norm.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    norm.yaxis.set_major_formatter("{x:g}")  # 0.5 reads better than 5 x 10^-1
    norm.yaxis.set_minor_formatter(NullFormatter())
    norm.set_ylabel("gradient norm")
    norm.set_xlabel("training tokens, millions")
    for axes in (loss, rate, norm):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    loss.set_title(f"{record.name}: loss in nats/token")
    path = record.run.path / "loss.png"
    figure.savefig(path, dpi=120)
    return path


def _draw_losses(axes: Axes, record: Record) -> None:
    """Each step's training loss, its running mean, the validation losses, and the exact limit where there is one."""
    tokens, losses = record.column("tokens") / 1e6, record.column("loss")
    window = window_of(len(losses))
    axes.plot(tokens, losses, color=BLUE, alpha=0.25, linewidth=0.6)
    label = f"training (mean of {window} steps)" if window > 1 else "training"
    axes.plot(tokens, record.smoothed, style(tokens), color=BLUE, label=label)
    points = [(record.tokens_at(row["step"]) / 1e6, row["nats_per_token"]) for row in record.evaluations]
    if points:
        label = f"validation, {record.evaluations[0]['stories']} stories (last: {points[-1][1]:.3f})"
        axes.plot(*zip(*points, strict=True), "o-", color=ORANGE, markersize=3, label=label)
    for limit in record.limits:
        axes.axhline(limit, color=GREY, linestyle="--", label=f"exact limit ({limit:.3f})")
    axes.set_ylim(loss_span(record))
    axes.set_ylabel("nats/token")
    axes.legend(frameon=False)
