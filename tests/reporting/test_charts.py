import math
import re

import numpy as np
import pytest

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


def test_colours_are_the_pages(record):
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


def test_a_single_step_can_be_seen(make_record):
    for chart in CHARTS:
        assert "<use" in chart(make_record([4.0], [(1, 3.5)], name=chart.__name__)), "no marker"


def test_a_long_run_stays_small(make_record):
    record = make_record((np.random.default_rng(7).normal(size=20_011) + 5).tolist())
    assert sum(len(chart(record)) for chart in CHARTS) < 500_000


def test_a_missing_norm_leaves_the_rest(record):
    """An update that fp16 skipped has none."""
    record.train[3]["grad_norm"] = None
    assert "nan" not in charts.norm_chart(record).lower()
