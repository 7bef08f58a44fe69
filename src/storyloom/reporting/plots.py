"""Plots of a run: losses, learning rate and gradient norm over training tokens."""

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from storyloom.errors import RunError
from storyloom.reporting.curves import smooth, window_of
from storyloom.runtime import Run
from storyloom.training.metrics import read_rows

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
    opened = run if isinstance(run, Run) else Run(run)
    train = read_rows(opened.path / "metrics.jsonl", "train")
    if not train:
        raise RunError(f"{opened.path} has no metrics to draw yet: let it train for a step")
    evaluations = read_rows(opened.path / "metrics.jsonl", "eval")
    final = read_rows(opened.path / "metrics.jsonl", "final")
    figure = Figure(figsize=(9, 8), layout="constrained")
    FigureCanvasAgg(figure)
    loss, rate, norm = figure.subplots(3, 1, sharex=True, height_ratios=[3, 1, 1])
    _draw_losses(loss, train, evaluations, final)
    tokens = [row["tokens"] / 1e6 for row in train]
    rate.plot(tokens, [row["learning_rate"] for row in train], _style(train), color=BLUE)
    rate.set_ylabel("learning rate")
    norm.semilogy(tokens, [row["grad_norm"] or math.nan for row in train], _style(train), color=GREY, linewidth=0.6)
    norm.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    norm.yaxis.set_major_formatter("{x:g}")  # 0.5 reads better than 5 x 10^-1
    norm.yaxis.set_minor_formatter(NullFormatter())
    norm.set_ylabel("gradient norm")
    norm.set_xlabel("training tokens, millions")
    for axes in (loss, rate, norm):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    loss.set_title(f"{opened.path.name}: loss in nats/token")
    path = opened.path / "loss.png"
    figure.savefig(path, dpi=120)
    return path


def _draw_losses(
    axes: Axes, train: list[dict[str, Any]], evaluations: list[dict[str, Any]], final: list[dict[str, Any]]
) -> None:
    """Each step's training loss, its running mean, the validation losses, and the exact limit where there is one."""
    tokens = np.array([row["tokens"] / 1e6 for row in train])
    losses = np.array([row["loss"] for row in train])
    window = window_of(len(losses))
    axes.plot(tokens, losses, color=BLUE, alpha=0.25, linewidth=0.6)
    label = f"training (mean of {window} steps)" if window > 1 else "training"
    axes.plot(tokens, smooth(losses, window), _style(train), color=BLUE, label=label)
    tokens_at = {row["step"]: row["tokens"] / 1e6 for row in train}
    points = [(tokens_at[row["step"]], row["nats_per_token"]) for row in evaluations]
    if points:
        label = f"validation, {evaluations[0]['stories']} stories (last: {points[-1][1]:.3f})"
        axes.plot(*zip(*points, strict=True), "o-", color=ORANGE, markersize=3, label=label)
    limits = [_limit(row) for row in final if "limit_bits_per_byte" in row]
    for limit in limits:
        axes.axhline(limit, color=GREY, linestyle="--", label=f"exact limit ({limit:.3f})")
    validation = [loss for _, loss in points]
    beginning = losses[: len(losses) // 200 + 1]  # a spike later on may leave the picture
    axes.set_ylim(max(0, min([losses.min(), *validation, *limits]) * 0.85), max([beginning.max(), *validation]) * 1.03)
    axes.set_ylabel("nats/token")
    axes.legend(frameon=False)


def _limit(final: dict[str, Any]) -> float:
    """The exact limit in nats/token."""
    return final["limit_bits_per_byte"] * math.log(2) * final["bytes"] / final["tokens"]


def _style(points: list[Any]) -> str:
    """A line; a dot where there is but one point, which no line would show."""
    return "-" if len(points) > 1 else "o"
