import math

import numpy as np
import pytest

from storyloom.reporting.curves import smooth, thin


def test_the_running_mean_is_the_mean_of_its_window():
    values = np.random.default_rng(3).normal(size=23)
    expected = [values[i - reach : i + reach + 1].mean() for i in range(23) for reach in [min(3, i, 22 - i)]]
    np.testing.assert_allclose(smooth(values, 7), expected)
    np.testing.assert_array_equal(smooth(values[:1], 7), values[:1])


@pytest.mark.parametrize("count", [7, 11, 53])
def test_thinned_windows_cut_the_curve_into_even_pieces(count):
    """Every value is in exactly one window, so that the windows' means weighted by their lengths are the whole mean."""
    values = np.random.default_rng(5).normal(size=count)
    thinned = thin(values, most=7)
    lengths = [(i + 1) * count // 7 - i * count // 7 for i in range(7)]
    assert max(lengths) - min(lengths) <= 1
    assert np.dot(thinned, lengths) == pytest.approx(values.sum())


def test_a_short_curve_is_left_as_it_is():
    values = np.array([3.0, math.nan, 2.0])
    assert thin(values, most=3) is values


def test_what_is_missing_counts_for_nothing():
    assert thin(np.array([1.0, math.nan, 3.0, 5.0, math.nan, math.nan]), most=3).tolist()[:2] == [1.0, 4.0]
    assert math.isnan(thin(np.array([1.0, math.nan, 3.0, 5.0, math.nan, math.nan]), most=3)[2])
