"""`compare_runs`: some runs side by side on one self-contained page."""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes

from storyloom.errors import ConfigError, DataError
from storyloom.evaluation import measure_likelihood
from storyloom.evaluation.likelihood import Likelihood, ratio_stderr
from storyloom.files import printable
from storyloom.model import count_parameters
from storyloom.reporting import stories
from storyloom.reporting.charts import MUTED, RUNS, TOKENS, draw, plain_ticks, style
from storyloom.reporting.curves import thin, updates_in_a_point
from storyloom.reporting.page import check_place, render, write_page
from storyloom.reporting.record import Record
from storyloom.reporting.settings import differences
from storyloom.reporting.summary import headline
from storyloom.runs import Run
from storyloom.runs.run import run_path

FEWEST, MOST = 2, 8
PAGE = "compare.html"
FAR_APART = 10  # times as many tokens, or minutes
# Runs differ in shape as well as in color: matplotlib's name of a marker, and the character that looks like it.
MARKERS = {"o": "●", "s": "■", "D": "◆", "^": "▲", "v": "▼", "P": "✚", "X": "✖\ufe0e", "*": "★"}


@dataclass(frozen=True)
class Figures:
    """What a run came to. Losses are those of its best checkpoint, None before its first evaluation."""

    name: str
    path: str
    step: int
    parameters: int
    tokens: int
    """Seen in training."""
    epochs: float
    minutes: float
    """Of updates, without evaluations."""
    tokens_per_second: float
    is_finished: bool
    nats_per_token: float | None = None
    perplexity: float | None = None
    bits_per_byte: float | None = None
    bits_per_byte_stderr: float | None = None
    stories: int | None = None
    """That were scored: all of validation, or those that are evaluated on the way."""
    comparable: bool = True
    """Whether its bits/byte may be compared with those of other tokenizers."""
    text_sha256: str | None = None
    """Of all validation stories; None where it is not known any more."""
    difference_bits_per_byte: float | None = None
    """To the first run, bits/byte: story by story on the same text."""
    difference_bits_per_byte_stderr: float | None = None
    why_no_difference: str | None = None


class Comparison:
    """Some runs, opened, and their figures.

    Args:
        runs: 2 to 8 runs, or their folders; the others are held against the first.

    Raises:
        ConfigError: too few or too many, or one is named twice.
        RunError: one is missing, or has not made a step yet.
    """

    def __init__(self, runs: Sequence[Run | str | os.PathLike[str]]) -> None:
        if isinstance(runs, str) or not isinstance(runs, Iterable):
            raise ConfigError(f"runs is {runs!r:.60}, of type {type(runs).__name__}: give a list of runs")
        paths = [run.path if isinstance(run, Run) else run_path(run) for run in runs]
        _check(paths)
        self.records = [Record(path) for path in paths]
        self.names = _names(paths)
        self.settings = differences(self.records)
        """Those in which the runs differ: each one's value in each run."""

    @cached_property
    def figures(self) -> list[Figures]:
        """What each came to, in order; takes a while where they are held against each other story by story."""
        return _paired(self.records, [_figures(*pair) for pair in zip(self.names, self.records, strict=True)])

    def as_dict(self) -> dict[str, Any]:
        """All figures, for JSON."""
        return {"runs": [asdict(figures) for figures in self.figures], "settings": self.settings}

    def write(self, out: str | os.PathLike[str] = PAGE) -> Path:
        """Put it on a page; see `compare_runs`."""
        path = check_place(out)
        texts = {figures.text_sha256 for figures in self.figures} - {None}
        html = render(
            "compare.html.j2",
            title=" · ".join(self.names) if len(self.names) < 4 else f"{len(self.names)} runs",
            headlines=[headline(record) for record in self.records],
            markers=list(MARKERS.values()),
            figures=self.figures,
            is_one_text=len(texts) < 2,
            are_finished=all(figures.is_finished for figures in self.figures),
            charts=[
                _chart("tokens", TOKENS, self.names, self.records),
                _chart("minutes", "minutes of updates", self.names, self.records),
            ],
            updates_in_a_point=updates_in_a_point(max(len(record.train) for record in self.records)),
            have_limit=any(record.limits for record in self.records),
            settings=self.settings,
            strategy=stories.default_strategy(),
            max_new_tokens=stories.MAX_NEW_TOKENS,
            stories=[stories.by_default(record) for record in self.records],
        )
        return write_page(path, html)


def compare_runs(runs: Sequence[Run | str | os.PathLike[str]], out: str | os.PathLike[str] = PAGE) -> Path:
    """Write some runs side by side as one HTML page: losses, what differs in their settings, figures, a story each.

    Runs whose validation text is the same are held against the first one story by story, which takes as long as their
    evaluations; the others are said to be measured on different texts.

    Args:
        runs: 2 to 8 runs, or their folders; they may be unfinished.
        out: the file; only a page of storyloom's is replaced.

    Returns:
        The path of the page.

    Raises:
        ConfigError: too few or too many runs, or one is named twice.
        RunError: one is missing, has not made a step yet, or is damaged; or `out` is not a place for a page.
    """
    return Comparison(runs).write(out)


def _check(paths: list[Path]) -> None:
    if not FEWEST <= len(paths) <= MOST:
        raise ConfigError(
            f"a comparison takes {FEWEST} to {MOST} runs, got {len(paths)}: "
            + ("name another one, or see `storyloom report` for one alone" if len(paths) < FEWEST else "leave some out")
        )
    resolved = [path.resolve() for path in paths]
    for number, path in enumerate(paths):
        if resolved[number] in resolved[:number]:
            raise ConfigError(f"{path} is named twice: a comparison is of different runs, so name each one once")


def _names(paths: list[Path]) -> list[str]:
    """The folders' own names, with as many of their parents' as tell them apart."""
    parts = [path.resolve().parts for path in paths]
    depth = next(depth for depth in count(1) if len({each[-depth:] for each in parts}) == len(parts))
    return [printable(Path(*each[-depth:]).as_posix()) for each in parts]


def _figures(name: str, record: Record) -> Figures:
    last, found = record.last, record.measured()
    figures = Figures(
        name=name,
        path=printable(str(record.run.path)),
        step=last.step,
        parameters=count_parameters(record.config.model),
        tokens=last.tokens,
        epochs=last.epoch,
        minutes=record.minutes,
        tokens_per_second=record.tokens_per_second,
        is_finished=record.final is not None,
        comparable=record.why_not_comparable is None,
        text_sha256=record.text_sha256,
    )
    if found is None:
        return figures
    measured = ("nats_per_token", "perplexity", "bits_per_byte", "bits_per_byte_stderr", "stories")
    return replace(figures, **{name: getattr(found.row, name) for name in measured})


def _paired(records: list[Record], figures: list[Figures]) -> list[Figures]:
    """With the difference of each run to the first one, or the reason why there is none."""
    first, paired = None, figures[:1]
    for found, record in zip(figures[1:], records[1:], strict=True):
        why = _why_not(figures[0], records[0], found, record)
        if why:
            paired.append(replace(found, why_no_difference=why))
            continue
        try:
            first = first or _likelihood(records[0])
            nats = _likelihood(record).nats
        except DataError:
            paired.append(replace(found, why_no_difference="the validation stories are gone"))
            continue
        excess = (nats - first.nats) / math.log(2)  # bits of each story
        difference, stderr = float(excess.sum() / first.bytes.sum()), ratio_stderr(excess, first.bytes)
        paired.append(replace(found, difference_bits_per_byte=difference, difference_bits_per_byte_stderr=stderr))
    return paired


def _why_not(first: Figures, first_record: Record, found: Figures, record: Record) -> str | None:
    """Why two runs cannot be held against each other story by story; None where they can."""
    if not (first.is_finished and found.is_finished):
        return "not finished"
    if first.text_sha256 != found.text_sha256:
        return "measured on different texts"
    is_same_tokenizer = first_record.run.origin["tokenizer"] == record.run.origin["tokenizer"]
    if not (is_same_tokenizer or (first.comparable and found.comparable)):
        return "not comparable"
    if first_record.data is None or record.data is None:
        return "the data is gone"
    return None


def _likelihood(record: Record) -> Likelihood:
    """Of every validation story, by the best checkpoint."""
    assert record.data is not None, "without data there is nothing to pair"
    return measure_likelihood(record.run.load_model(), record.data.val_stories(), record.data.tokenizer.eot)


def _chart(name: str, label: str, names: list[str], records: list[Record]) -> Markup:
    """All losses in bits/byte: training as a pale running mean, validation as points.

    The axis begins where the run that had the least has a tenth of it behind it: what came before is steep. It is
    logarithmic where one run had so much more than another that the shorter one would be a strip at its left.
    """
    curves = [_Curve(name, record) for record in records]
    lasts = [float(curve.places[-1]) for curve in curves]

    def paint(axes: Axes) -> None:
        begin = min(lasts) / 10
        seen: list[float] = []
        for curve, color, marker in zip(curves, RUNS, MARKERS, strict=False):
            drawn = {"color": color, "alpha": 0.55, "linewidth": 0.9, "markersize": 3}
            axes.plot(thin(curve.places), thin(curve.training), style(curve.places), **drawn)
            if curve.points:
                axes.plot(*zip(*curve.points, strict=True), color=color, marker=marker, markersize=4, linewidth=1.5)
            seen += [*curve.training[curve.places >= begin], *(bits for at, bits in curve.points if at >= begin)]
        for limit in {record.bits(limit) for record in records for limit in record.limits}:
            axes.axhline(limit, color=MUTED, linestyle="--", linewidth=1.2)
            seen.append(limit)
        if max(lasts) >= FAR_APART * min(lasts):
            axes.set_xscale("log")
            plain_ticks(axes.xaxis)
        margin = 0.06 * (max(seen) - min(seen)) + 1e-3
        axes.set_xlim(begin, 1.02 * max(lasts))
        axes.set_ylim(min(seen) - margin, max(seen) + margin)
        axes.set_xlabel(label)
        axes.set_ylabel("bits/byte")

    said = "; ".join(f"{run}, {curve.in_words}" for run, curve in zip(names, curves, strict=True))
    return draw(name, f"Losses in bits/byte over {label}: {said}", paint)


class _Curve:
    """A run's losses in bits/byte over millions of tokens, or over minutes."""

    def __init__(self, over: str, record: Record) -> None:
        self.places = record.column("tokens") / 1e6 if over == "tokens" else record.column("seconds") / 60
        self.training = record.smoothed("bits_per_byte")
        self.points = [(self.places[record.index_of(e.step)], e.bits_per_byte) for e in record.evaluations]

    @property
    def in_words(self) -> str:
        """The first and the last losses."""
        said = f"training from {self.training[0]:.3f} to {self.training[-1]:.3f}"
        return said + (f", validation from {self.points[0][1]:.3f} to {self.points[-1][1]:.3f}" if self.points else "")
