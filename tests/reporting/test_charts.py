import math
import re
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from storyloom.reporting import charts

from .pages import axis, parsed
from .runs import BYTES_PER_TOKEN, scored

LIMIT = {"limit_bits_per_byte": 0.7, "gap_bits_per_byte": 0.1, "gap_bits_per_byte_stderr": 0.01}
CHARTS = [charts.loss_chart, charts.closeup_chart, charts.rate_chart, charts.norm_chart, charts.speed_chart]


@pytest.fixture
def record(make_record):
    losses = (3.5 * np.exp(-np.arange(211) / 37) + 2).tolist()
    return make_record(losses, [(50, 3.25), (211, 2.125)], scored(2.125) | LIMIT)


@pytest.mark.parametrize("chart", CHARTS)
def test_an_element_that_takes_all_from_the_page(record, chart):
    svg = chart(record)
    root = parsed(svg)
    assert root.tag == "svg"
    assert root.get("aria-label")
    assert "viewBox" in root.attrib
    assert not {"width", "height"} & set(root.attrib)
    assert not re.search(r"#[0-9a-fA-F]{6}|font-family|sans|http|<style|<!--|<\?xml", svg)


@pytest.mark.parametrize("chart", CHARTS)
def test_the_same_run_gives_the_same_bytes(record, chart):
    assert chart(record) == chart(record)


def test_ids_are_unique_on_a_page_and_all_that_is_referred_to_is_there(record):
    page = "".join(chart(record) for chart in CHARTS)
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    referred = re.findall(r'(?:href="#|url\(#)([^")]*)', page)
    assert referred
    assert set(referred) <= set(ids)


def test_colors_are_the_pages(record):
    used = set(re.findall(r"var\(--([\w-]+)\)", charts.loss_chart(record)))
    assert used >= {"training", "validation", "limit", "line", "muted"}


@pytest.mark.parametrize("chart", [charts.loss_chart, charts.closeup_chart])
def test_bits_a_byte_stand_beside_the_nats_that_they_are(record, chart):
    """At every height of the drawing: nats/token = bits/byte x ln 2 x bytes a token."""
    svg = chart(record)
    heights = np.array([50.0, 90.0, 130.0])
    nats, bits = np.polyval(axis(svg, "end"), heights), np.polyval(axis(svg, "start"), heights)
    np.testing.assert_allclose(nats, bits * math.log(2) * BYTES_PER_TOKEN, rtol=2e-3)
    texts = {element.text for element in parsed(svg).iter("text")}
    assert {"nats/token", "bits/byte", "training tokens, millions"} <= texts


@pytest.mark.parametrize("chart", CHARTS)
def test_a_single_step_can_be_seen(make_record, chart):
    """A line through one point is no line."""
    assert marks(chart(make_record([4.0], [(1, 3.5)])), "training") > 0
    assert marks(chart(make_record([4.0, 3.0], [(1, 3.5)], name="longer")), "training") == 0


def marks(svg, color):
    """How many marks there are of a color."""
    return len(re.findall(rf'<use [^>]*style="fill: var\(--{color}\)', svg))


def test_the_users_own_style_is_left_out(record):
    plain = charts.loss_chart(record)
    with matplotlib.rc_context({"axes.facecolor": "black", "font.size": 37, "svg.fonttype": "path"}):
        assert charts.loss_chart(record) == plain


@pytest.mark.parametrize(
    ("chart", "figures"),
    [
        (charts.loss_chart, "training from 5.500 to 2.013, validation from 3.250 to 2.125 nats/token"),
        (charts.rate_chart, "from 0.0001 to 0.0211"),
        (charts.norm_chart, "from 1 to 0.004739"),
        (charts.speed_chart, "from 226 to 226"),
    ],
)
def test_a_reader_who_does_not_see_hears_the_first_and_the_last_figures(record, chart, figures):
    """At step 211 the loss is 2 + 3.5 exp(-210 / 37) = 2.012, and 2.013 as the mean of the last five."""
    assert parsed(chart(record)).get("aria-label").endswith(figures)


def test_a_long_run_stays_small(make_record):
    record = make_record((np.random.default_rng(7).normal(size=20_011) + 5).tolist())
    assert sum(len(chart(record)) for chart in CHARTS) < 500_000


def test_a_missing_norm_leaves_the_rest(record, make_record):
    """An update that fp16 skipped has none: the line is in two pieces."""
    assert pieces(charts.norm_chart(record)) == 1
    gone = make_record([4.0, 3.0, 2.0, 2.0, 2.0], name="gone")
    gone.train[2] = replace(gone.train[2], grad_norm=None)
    assert pieces(charts.norm_chart(gone)) == 2


def pieces(svg):
    """Of the line in the color of training."""
    (line,) = re.findall(r'<path d="([^"]*)"[^>]*stroke: var\(--training\)', svg)
    return line.count("M")


@pytest.mark.parametrize(("low", "high"), [(1.1, 1.4), (0.31, 0.39), (0.9, 2.0), (0.2, 40.0), (1e-3, 1e3)])
def test_a_logarithmic_axis_has_ticks_enough_to_be_read(low, high):
    """The gradient norms of a short run had one tick on their axis, or none."""
    axes = Figure().add_subplot()
    axes.plot([0, 1], [low, high])
    axes.set_yscale("log")
    charts.plain_ticks(axes.yaxis)
    bottom, top = axes.get_ylim()
    ticks = [tick for tick in axes.yaxis.get_ticklocs() if bottom <= tick <= top]
    assert len(ticks) >= 3
    assert len({axes.yaxis.get_major_formatter()(tick) for tick in ticks}) == len(ticks)
