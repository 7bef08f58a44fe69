"""Charts as SVG that takes its colors and its font from the page, so that light, dark and print need one drawing.

matplotlib draws in colors that stand for the page's CSS variables, and text stays text. The same numbers give the same
bytes; ids begin with the chart's name, so that many charts share a page.
"""

import io
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup, escape
from matplotlib import style as styles
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from storyloom.reporting.curves import MOST_POINTS, thin, window_of
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
    **{color: f"run-{number}" for number, color in enumerate(RUNS, start=1)},
}
TOKENS = "training tokens, millions"
STYLE: dict[str, Any] = {
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


class LossColors(NamedTuple):
    """The colors of the loss chart."""

    training: str
    validation: str
    limit: str


PAGE = LossColors(TRAINING, VALIDATION, LIMIT)


def plain_style(**changes: Any) -> AbstractContextManager[None]:
    """matplotlib's defaults, whatever the user's own are, with changes; a `$` in a folder's name is a dollar."""
    return styles.context(["default", {"text.parse_math": False, **changes}])


def draw(name: str, description: str, paint: Callable[[Axes], None], size: tuple[float, float] = LARGE) -> Markup:
    """One chart as an `<svg>` element for a page.

    Args:
        name: unique on the page; letters, digits and dashes.
        description: what a reader who does not see it should know.
        paint: draws into the axes, in this module's colors.
        size: width and height in inches; the page scales it.
    """
    with plain_style(**STYLE):
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
    """matplotlib's file as an element: no prologue, no fixed size, no font of its own, colors as variables."""
    drawing = svg[svg.index("</metadata>") + len("</metadata>") : svg.rindex("</svg>")]
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box, "matplotlib writes one"
    drawing = re.sub(r"<defs>\s*<style[^>]*>[^<]*</style>\s*</defs>", "", drawing)
    drawing = drawing.replace("xlink:href", "href")
    drawing = re.sub(r"<!--.*?-->\s*", "", drawing, flags=re.DOTALL)
    drawing = drawing.replace('id="', f'id="{name}-')
    drawing = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", drawing)
    drawing = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", drawing)  # as matplotlib wrote it before 3.10
    drawing = re.sub(r"font-family: [^;\"]*;? ?", "", drawing)
    for color, variable in VARIABLES.items():
        drawing = drawing.replace(color, f"var(--{variable})")
    opening = f'<svg class="chart" {box[0]} role="img" aria-label="{escape(description)}">'
    return Markup(opening + drawing + "</svg>")


def loss_chart(record: Record) -> Markup:
    """The losses of the whole run over its tokens, in nats/token and bits/byte."""

    def paint(axes: Axes) -> None:
        _draw_both_scales(axes, record)
        axes.set_ylim(loss_span(record))
        axes.legend()

    return draw("loss", f"Loss over the whole run: {_said_of_losses(record)}", paint)


def closeup_chart(record: Record) -> Markup:
    """The same without the steep beginning: the last nine tenths, with the axis cut to what happens there."""

    def paint(axes: Axes) -> None:
        _draw_both_scales(axes, record)
        tokens = record.column("tokens")
        begin = tokens[-1] / 10
        validation = [row.nats_per_token for row in record.evaluations if record.tokens_at(row.step) >= begin]
        seen = np.concatenate([record.smoothed()[tokens >= begin], validation, record.limits])
        margin = 0.06 * np.ptp(seen) + 1e-3
        axes.set_xlim(begin / 1e6, tokens[-1] / 1e6 * 1.02)
        axes.set_ylim(seen.min() - margin, seen.max() + margin)

    return draw("closeup", "The same losses without the steep beginning, the last nine tenths of the run", paint)


def loss_span(record: Record) -> tuple[float, float]:
    """The lowest and the highest loss that a picture of the whole run shows, nats/token."""
    losses = record.column("loss")
    beginning = losses[: len(losses) // 200 + 1]  # a spike later on may leave the picture
    validation = [row.nats_per_token for row in record.evaluations]
    lowest = min([losses.min(), *validation, *record.limits])
    return max(0.0, 0.85 * lowest), 1.03 * max([beginning.max(), record.smoothed().max(), *validation])


def draw_losses(axes: Axes, record: Record, colors: LossColors = PAGE, most: int = MOST_POINTS) -> None:
    """Training (each update, pale, and its running mean), validation, and the limit, if there is one.

    Args:
        axes: to be drawn into; over millions of tokens, in nats/token.
        record: the run.
        colors: of the three.
        most: points of a curve; means take the place of more.
    """
    tokens, losses = record.column("tokens") / 1e6, record.column("loss")
    window = window_of(len(losses))
    axes.plot(thin(tokens, most), thin(losses, most), color=colors.training, alpha=0.3, linewidth=0.7)
    label = f"training (mean of {window} updates)" if window > 1 else "training"
    smoothed = thin(record.smoothed(), most)
    axes.plot(thin(tokens, most), smoothed, style(tokens), color=colors.training, linewidth=1.4, label=label)
    points = [(record.tokens_at(row.step) / 1e6, row.nats_per_token) for row in record.evaluations]
    if points:
        label = f"validation, {record.evaluations[0].stories} stories (last: {points[-1][1]:.3f})"
        axes.plot(*zip(*points, strict=True), "o-", color=colors.validation, markersize=3.5, label=label)
    for limit in record.limits:
        axes.axhline(limit, color=colors.limit, linestyle="--", linewidth=1.2, label=f"exact limit ({limit:.3f})")
    axes.set_ylabel("nats/token")


def _draw_both_scales(axes: Axes, record: Record) -> None:
    """The losses in nats/token on the left, in bits/byte on the right."""
    draw_losses(axes, record)
    axes.set_xlabel(TOKENS)
    scale = record.bits(1.0)
    bits = axes.secondary_yaxis("right", functions=(lambda x: np.multiply(x, scale), lambda x: np.divide(x, scale)))
    bits.set_ylabel("bits/byte")
    bits.patch.set_visible(False)
    bits.spines["right"].set_visible(False)


def _said_of_losses(record: Record) -> str:
    """The first and the last losses, for those who do not see the chart."""
    said = f"training from {record.train[0].loss:.3f} to {record.training_loss_at(record.last.step):.3f}"
    found = [row.nats_per_token for row in record.evaluations]
    return said + (f", validation from {found[0]:.3f} to {found[-1]:.3f}" if found else "") + " nats/token"


def rate_chart(record: Record) -> Markup:
    """The learning rate of each update."""

    def paint(axes: Axes) -> None:
        _curve(axes, record, record.column("learning_rate"), "learning rate")
        axes.set_ylim(bottom=0)

    return draw("rate", f"The learning rate over the run, {_ends(record.column('learning_rate'))}", paint, SMALL)


def norm_chart(record: Record) -> Markup:
    """The gradient's norm before clipping, and where clipping begins."""

    def paint(axes: Axes) -> None:
        _curve(axes, record, record.column("grad_norm"), "gradient norm")
        axes.set_yscale("log")
        clip = record.config.train.grad_clip
        if clip is not None:
            axes.axhline(clip, color=LIMIT, linestyle="--", linewidth=1.2, label="clipped above")
            axes.legend()
        plain_ticks(axes.yaxis)

    description = f"The norm of the gradient over the run, on a logarithmic scale, {_ends(record.column('grad_norm'))}"
    return draw("norm", description, paint, SMALL)


def speed_chart(record: Record) -> Markup:
    """Tokens a second of each update."""

    def paint(axes: Axes) -> None:
        _curve(axes, record, record.column("tokens_per_second") / 1e3, "1,000 tokens/s")
        axes.set_ylim(bottom=0)

    description = f"Training tokens a second over the run, {_ends(record.column('tokens_per_second'))}"
    return draw("speed", description, paint, SMALL)


def _curve(axes: Axes, record: Record, values: np.ndarray, label: str) -> None:
    tokens = record.column("tokens") / 1e6
    axes.plot(thin(tokens), thin(values), style(tokens), color=TRAINING, linewidth=1)
    axes.set_xlabel(TOKENS)
    axes.set_ylabel(label)


def _ends(values: np.ndarray) -> str:
    """The first and the last value that is known, for those who do not see the chart."""
    known = values[~np.isnan(values)]
    return f"from {known[0]:,.4g} to {known[-1]:,.4g}" if len(known) else "not known"


NARROW = 5.0  # times, from the lowest to the highest


def plain_ticks(axis: Axis) -> None:
    """A logarithmic axis' ticks as plain numbers: 0.5 reads better than 5 x 10^-1."""
    low, high = axis.get_view_interval()
    is_narrow = high < NARROW * low  # a short run's gradient norms: of 1, 2 and 5 hardly any lies among them
    axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]) if is_narrow else LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def style(points: Sequence[float] | np.ndarray) -> str:
    """A line; a dot where there is but one point, which no line would show."""
    return "-" if len(points) > 1 else "o"
