"""Times that can be compared on a noisy machine: taken in turns, many times over, and read as medians of ratios."""

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch

SLOWEST_PRODUCT = 1.0  # seconds that one matrix product may take
SMALLEST, LARGEST = 256, 2048  # rows and columns of its matrices
SHORTEST_EXTENSION = 10.0  # seconds that the least number of rounds may take beyond the time that was asked for


def take_turns(
    actions: Mapping[str, Callable[[], object]], seconds: float, device: torch.device, least: int = 5
) -> dict[str, list[float]]:
    """Run each action once a round, in rounds until the time is over, and time each.

    Args:
        actions: by name. Each has been run before, so that nothing is done for the first time.
        seconds: how long, in all.
        device: where they run; its queue is emptied before a clock is read.
        least: rounds, even if they take as long again (or ten seconds more); a single one is always completed.

    Returns:
        Seconds of each action, one a round, so that times of one round can be compared.
    """
    times: dict[str, list[float]] = {name: [] for name in actions}
    end = time.perf_counter() + seconds
    while True:
        for name, action in actions.items():
            times[name].append(seconds_of(action, device))
        rounds, over = len(next(iter(times.values()))), time.perf_counter() - end
        if over >= (0 if rounds >= least else max(seconds, SHORTEST_EXTENSION)):
            return times


def median_ratio(numerators: list[float], denominators: list[float]) -> float:
    """The median over rounds of one time by another.

    >>> median_ratio([2.0, 9.0, 6.0], [1.0, 3.0, 1.0])
    3.0
    """
    return median(a / b for a, b in zip(numerators, denominators, strict=True))


class MatrixProduct:
    """The machine's ceiling: an n x n product, called once a round.

    Args:
        precision: `fp32`, `bf16` or `fp16`.
        device: where.
        n: large enough that nothing but arithmetic counts.
    """

    def __init__(self, precision: str, device: torch.device, n: int = LARGEST) -> None:
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        self._a = torch.randn(n, n, device=device).to(dtype)
        self._out = torch.empty_like(self._a)
        self.flops = 2 * n**3

    def __call__(self) -> None:
        """One product."""
        torch.mm(self._a, self._a, out=self._out)


def largest_product(precision: str, device: torch.device) -> MatrixProduct:
    """The largest product that ends within a second: some precisions are a hundred times as slow as others on a CPU.

    Args:
        precision: `fp32`, `bf16` or `fp16`.
        device: where.
    """
    n = SMALLEST
    while True:
        product = MatrixProduct(precision, device, n)
        product()  # memory is laid out
        if n == LARGEST or 8 * seconds_of(product, device) > SLOWEST_PRODUCT:  # twice as large takes 8 times as long
            return product
        n *= 2


def seconds_of(action: Callable[[], object], device: torch.device) -> float:
    """The time of one call, with all that it has queued on the device."""
    _wait_for(device)
    start = time.perf_counter()
    action()
    _wait_for(device)
    return time.perf_counter() - start


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
    elif device.type == "mps":
        torch.mps.synchronize()
