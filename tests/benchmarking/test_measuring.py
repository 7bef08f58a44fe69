"""Turns, ratios and the ceiling, by hand."""

import pytest
import torch

from storyloom.benchmarking import measuring
from storyloom.benchmarking.measuring import MatrixProduct, median_ratio, take_turns

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch):
    """Seconds, to be moved by hand."""
    now = [100.0]
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: now[0])
    return now


def test_each_has_its_turn_in_every_round(clock):
    order = []

    def action(name: str, seconds: float):
        def act() -> None:
            order.append(name)
            clock[0] += seconds

        return act

    times = take_turns({"a": action("a", 2.0), "b": action("b", 3.0)}, seconds=34.0, device=CPU)
    assert order == ["a", "b"] * 7  # six rounds take 30 seconds, the seventh begins in time
    assert times == {"a": [2.0] * 7, "b": [3.0] * 7}
    assert len(take_turns({"a": action("a", 50.0)}, seconds=34.0, device=CPU)["a"]) == 5


def test_a_ratio_is_taken_within_each_round():
    """The ratio of medians would be 3."""
    assert median_ratio([3.0, 30.0, 2.0], [1.0, 10.0, 0.5]) == 3.0
    assert median_ratio([1.0, 30.0, 3.0], [1.0, 5.0, 1.5]) == 2.0


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_product_counts_its_operations(precision):
    product = MatrixProduct(precision, CPU, n=37)
    product()
    assert product.flops == 37 * 37 * (37 + 37)
