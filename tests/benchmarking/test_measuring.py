"""Turns, ratios and the ceiling, by hand."""

import pytest
import torch

from storyloom.benchmarking import measuring
from storyloom.benchmarking.measuring import MatrixProduct, largest_product, median_ratio, take_turns

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


@pytest.mark.parametrize(
    ("action_seconds", "seconds", "rounds"),
    [
        (10.0, 34.0, 5),  # the fifth ends 16 seconds late
        (20.0, 34.0, 4),  # 12, 26 and then 46 seconds late
        (50.0, 34.0, 2),
        (500.0, 34.0, 1),
        (1.0, 0.1, 5),  # the fifth ends 4.9 seconds late
        (6.0, 0.1, 2),
    ],
)
def test_the_least_number_of_rounds_has_its_limit_too(clock, action_seconds, seconds, rounds):
    """Five rounds were made however long they took: `seconds` bounded nothing."""

    def act() -> None:
        clock[0] += action_seconds

    assert take_turns({"a": act}, seconds, CPU) == {"a": [action_seconds] * rounds}


def test_a_ratio_is_taken_within_each_round():
    """The ratio of medians would be 3."""
    assert median_ratio([3.0, 30.0, 2.0], [1.0, 10.0, 0.5]) == 3.0
    assert median_ratio([1.0, 30.0, 3.0], [1.0, 5.0, 1.5]) == 2.0


@pytest.mark.parametrize(("gigaflops", "n"), [(1000.0, 2048), (20.0, 2048), (10.0, 1024), (2.0, 512), (0.01, 256)])
def test_a_slow_product_is_a_small_one(clock, monkeypatch, gigaflops, n):
    """A product in fp16 took a CPU four seconds, and was called twenty times."""

    def multiply(product: MatrixProduct) -> None:
        clock[0] += product.flops / (gigaflops * 1e9)

    monkeypatch.setattr(MatrixProduct, "__call__", multiply)
    assert largest_product("fp16", CPU).flops == 2 * n**3


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_product_counts_its_operations(precision):
    product = MatrixProduct(precision, CPU, n=37)
    product()
    assert product.flops == 37 * 37 * (37 + 37)
