"""Curves made fit to be drawn: smoothed, and thinned to as many points as a picture can show.

Legend: n steps of a run, float64 (n,); a value that is missing is nan.
"""

import numpy as np

MOST_POINTS = 600  # of a curve in a page: more than it has pixels, few enough for a small file


def window_of(count: int) -> int:
    """An odd number of steps, about 2 % of the run."""
    return 2 * (count // 100) + 1


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """A running mean centred on each step, so that it does not lag; towards the ends its window shrinks to one step."""
    index = np.arange(len(values))
    reach = np.minimum(window // 2, np.minimum(index, index[::-1]))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return (sums[index + reach + 1] - sums[index - reach]) / (2 * reach + 1)


def updates_in_a_point(count: int) -> int:
    """How many updates of a run of `count` at most share a point of a thinned curve.

    >>> updates_in_a_point(600), updates_in_a_point(1201)
    (1, 3)
    """
    return -(-count // MOST_POINTS)


def thin(values: np.ndarray, most: int = MOST_POINTS) -> np.ndarray:
    """Means over at most `most` windows of as equal length as can be, nan left out; a short curve as it is.

    >>> thin(np.array([1.0, 3.0, 5.0, np.nan]), most=2).tolist()
    [2.0, 5.0]
    """
    if len(values) <= most:
        return values
    starts = np.arange(most) * len(values) // most
    known = ~np.isnan(values)
    counts = np.add.reduceat(known.astype(np.float64), starts)
    sums = np.add.reduceat(np.where(known, values, 0.0), starts)
    return np.divide(sums, counts, out=np.full(most, np.nan), where=counts > 0)
