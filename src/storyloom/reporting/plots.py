"""Plots of a run: losses, learning rate and gradient norm over training tokens."""

import os
import warnings
from io import BytesIO
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from storyloom.files import write_bytes
from storyloom.reporting.charts import TOKENS, LossColors, draw_losses, loss_span, plain_style, plain_ticks, style
from storyloom.reporting.record import Record
from storyloom.runs import Run

BLUE, ORANGE, GREY = "#2a6fbb", "#d9730d", "#8a8a8a"
MOST_POINTS = 1000  # of a curve: about as many as the picture has pixels


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
    path = record.run.path / "loss.png"
    picture = BytesIO()
    with plain_style(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a run's name may be in any script
        _figure(record).savefig(picture, dpi=120)
    write_bytes(path, picture.getvalue())
    return path


def _figure(record: Record) -> Figure:
    figure = Figure(figsize=(9, 8), layout="constrained")
    FigureCanvasAgg(figure)
    loss, rate, norm = figure.subplots(3, 1, sharex=True, height_ratios=[3, 1, 1])
    draw_losses(loss, record, LossColors(BLUE, ORANGE, GREY), MOST_POINTS)
    loss.set_ylim(loss_span(record))
    loss.legend(frameon=False)
    loss.set_title(f"{record.name}: loss in nats/token")
    tokens = record.column("tokens") / 1e6
    rate.plot(tokens, record.column("learning_rate"), style(tokens), color=BLUE)
    rate.set_ylabel("learning rate")
    norm.semilogy(tokens, record.column("grad_norm"), style(tokens), color=GREY, linewidth=0.6)
    plain_ticks(norm.yaxis)
    norm.set_ylabel("gradient norm")
    norm.set_xlabel(TOKENS)
    for axes in (loss, rate, norm):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
