"""Plots of a run: losses, learning rate and gradient norm over training tokens."""

import os
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from storyloom.errors import RunError
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
    rate.plot(tokens, [row["learning_rate"] for row in train], color=BLUE)
    rate.set_ylabel("learning rate")
    norm.semilogy(tokens, [row["grad_norm"] for row in train], color=GREY, linewidth=0.6)
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
    axes.plot(tokens, losses, color=BLUE, alpha=0.25, linewidth=0.6)
    axes.plot(tokens, _smooth(losses), color=BLUE, label="training (running mean)")
    tokens_at = {row["step"]: row["tokens"] / 1e6 for row in train}
    points = [(tokens_at[row["step"]], row["nats_per_token"]) for row in evaluations]
    if points:
        label = f"validation, first {evaluations[0]['stories']} stories (last: {points[-1][1]:.3f})"
        axes.plot(*zip(*points, strict=True), "o-", color=ORANGE, markersize=3, label=label)
    for row in final:
        if "limit_bits_per_byte" in row:
            limit = row["limit_bits_per_byte"] * np.log(2) * row["bytes"] / row["tokens"]
            axes.axhline(limit, color=GREY, linestyle="--", label=f"exact limit ({limit:.3f})")
    lowest = min([losses.min(), *(loss for _, loss in points)])
    axes.set_ylim(max(0, lowest * 0.85), losses[: max(1, len(losses) // 200 + 1)].max() * 1.03)
    axes.set_ylabel("nats/token")
    axes.legend(frameon=False)


def _smooth(values: np.ndarray) -> np.ndarray:
    """An exponential running mean over about 2 % of the run, unbiased at its start."""
    keep = 1 - 1 / max(1.0, len(values) / 50)
    mean, weight, smooth = 0.0, 0.0, []
    for value in values:
        mean, weight = keep * mean + (1 - keep) * value, keep * weight + (1 - keep)
        smooth.append(mean / weight)
    return np.array(smooth)
