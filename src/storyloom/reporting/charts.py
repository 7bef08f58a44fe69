"""Charts as SVG that takes its colours and its font from the page, so that light, dark and print need one drawing.

matplotlib draws in colours that stand for the page's CSS variables, and text stays text. The same numbers give the same
bytes; ids begin with the chart's name, so that many charts share a page.
"""

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from storyloom.reporting.curves import thin, window_of
from storyloom.reporting.record import Record

LARGE, SMALL = (5.0, 3.0), (4.0, 2.5)  # inches, for half and a third of a page; on a phone 10 pt stay readable
INK, MUTED, LINE = "#010101", "#010102", "#010103"
TRAINING, VALIDATION, LIMIT = "#010104", "#010105", "#010106"
RUNS = tuple(f"#0102{number:02x}" for number in range(1, 9))
VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    LINE: "line",
    TRAINING: "training",
    VALIDATION: "validation",
    LIMIT: "limit",
    **{colour: f"run-{number}" for number, colour in enumerate(RUNS, start=1)},
}
TOKENS = "training tokens, millions"
MARKERS = "osD^vPX*"  # runs differ in shape as well as in colour
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "storyloom",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.formatter.limits": (-4, 6),
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "grid.color": LINE,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "path.simplify_threshold": 0.2,
}


def draw(name: str, description: str, paint: Callable[[Axes], None], size: tuple[float, float] = LARGE) -> Markup:
    """One chart as an `<svg>` element for a page.

    Args:
        name: unique on the page; letters, digits and dashes.
        description: what a reader who does not see it should know.
        paint: draws into the axes, in this module's colours.
        size: width and height in inches; the page scales it.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_visible(False)
        axes = figure.subplots()
        axes.patch.set_visible(False)
        axes.grid(linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        paint(axes)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return _for_page(file.getvalue(), name, description)


def _for_page(svg: str, name: str, description: str) -> Markup:
    """matplotlib's file as an element: no prologue, no fixed size, no font of its own, colours as variables."""
    drawing = svg[svg.index("</metadata>") + len("</metadata>") : svg.rindex("</svg>")]
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box, "matplotlib writes one"
    drawing = re.sub(r"<defs>\s*<style[^>]*>[^<]*</style>\s*</defs>", "", drawing)
    drawing = drawing.replace("xlink:href", "href")
    drawing = re.sub(r"<!--.*?-->\s*", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r'id="', f'id="{name}-', drawing)
    drawing = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", drawing)
    drawing = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", drawing)  # as matplotlib wrote it before 3.10
    drawing = re.sub(r"font-family: [^;\"]*;? ?", "", drawing)
    for colour, variable in VARIABLES.items():
        drawing = drawing.replace(colour, f"var(--{variable})")
    opening = f'<svg class="chart" {box[0]} role="img" aria-label="{escape(description)}">'
    return Markup(opening + drawing + "</svg>")


def loss_chart(record: Record) -> Markup:
    """The losses of the whole run over its tokens, in nats/token and bits/byte."""

    def paint(axes: Axes) -> None:
        _draw_losses(axes, record)
        axes.set_ylim(loss_span(record))
        axes.legend()

    return draw("loss", "Training and validation loss over the whole run", paint)


def closeup_chart(record: Record) -> Markup:
    """The same without the steep beginning: the last nine tenths, with the axis cut to what happens there."""

    def paint(axes: Axes) -> None:
        _draw_losses(axes, record)
        tokens = record.column("tokens")
        begin = tokens[-1] / 10
        validation = [row["nats_per_token"] for row in record.evaluations if record.tokens_at(row["step"]) >= begin]
        seen = np.concatenate([record.smoothed[tokens >= begin], validation, record.limits])
        margin = 0.06 * np.ptp(seen) + 1e-3
        axes.set_xlim(begin / 1e6, tokens[-1] / 1e6 * 1.02)
        axes.set_ylim(seen.min() - margin, seen.max() + margin)

    return draw("closeup", "The same losses without the steep beginning, closer up", paint)


def loss_span(record: Record) -> tuple[float, float]:
    """The lowest and the highest loss that a picture of the whole run shows, nats/token."""
    losses = record.column("loss")
    beginning = losses[: len(losses) // 200 + 1]  # a spike later on may leave the picture
    validation = [row["nats_per_token"] for row in record.evaluations]
    lowest = min([losses.min(), *validation, *record.limits])
    return max(0.0, 0.85 * lowest), 1.03 * max([beginning.max(), *validation])


def _draw_losses(axes: Axes, record: Record) -> None:
    """Training (means of a few steps, pale, and its running mean), validation, and the limit where there is one."""
    tokens, losses = record.column("tokens") / 1e6, record.column("loss")
    window = window_of(len(losses))
    axes.plot(thin(tokens), thin(losses), color=TRAINING, alpha=0.3, linewidth=0.7)
    label = f"training (mean of {window})" if window > 1 else "training"
    axes.plot(thin(tokens), thin(record.smoothed), style(tokens), color=TRAINING, linewidth=1.4, label=label)
    points = [(record.tokens_at(row["step"]) / 1e6, row["nats_per_token"]) for row in record.evaluations]
    if points:
        axes.plot(*zip(*points, strict=True), "o-", color=VALIDATION, markersize=3.5, label="validation")
    for limit in record.limits:
        axes.axhline(limit, color=LIMIT, linestyle="--", linewidth=1.2, label="exact limit")
    axes.set_xlabel(TOKENS)
    axes.set_ylabel("nats/token")
    scale = record.bits(1.0)
    bits = axes.secondary_yaxis("right", functions=(lambda x: np.multiply(x, scale), lambda x: np.divide(x, scale)))
    bits.set_ylabel("bits/byte")
    bits.patch.set_visible(False)
    bits.spines["right"].set_visible(False)


def rate_chart(record: Record) -> Markup:
    """The learning rate of each update."""

    def paint(axes: Axes) -> None:
        _curve(axes, record, record.column("learning_rate"), "learning rate")
        axes.set_ylim(bottom=0)

    return draw("rate", "The learning rate over the run", paint, SMALL)


def norm_chart(record: Record) -> Markup:
    """The gradient's norm before clipping, and where clipping begins."""

    def paint(axes: Axes) -> None:
        _curve(axes, record, record.column("grad_norm"), "gradient norm")
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        clip = record.config.train.grad_clip
        if clip is not None:
            axes.axhline(clip, color=LIMIT, linestyle="--", linewidth=1.2, label="clipped above")
            axes.legend()

    return draw("norm", "The norm of the gradient over the run, on a logarithmic scale", paint, SMALL)


def speed_chart(record: Record) -> Markup:
    """Tokens a second of each update."""

    def paint(axes: Axes) -> None:
        _curve(axes, record, record.column("tokens_per_second") / 1e3, "1,000 tokens/s")
        axes.set_ylim(bottom=0)

    return draw("speed", "Training tokens a second over the run", paint, SMALL)


def _curve(axes: Axes, record: Record, values: np.ndarray, label: str) -> None:
    tokens = record.column("tokens") / 1e6
    axes.plot(thin(tokens), thin(values), style(tokens), color=TRAINING, linewidth=1)
    axes.set_xlabel(TOKENS)
    axes.set_ylabel(label)


def style(points: Sequence[float] | np.ndarray) -> str:
    """A line; a dot where there is but one point, which no line would show."""
    return "-" if len(points) > 1 else "o"
