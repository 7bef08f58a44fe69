"""Learning rates, worked out by hand."""

import math

import pytest

from storyloom.config import TrainConfig
from storyloom.training.plan import Plan
from storyloom.training.schedule import SCHEDULES, learning_rate_at


@pytest.mark.parametrize(
    ("name", "decay_fraction", "values"),
    [  # at 0, 1/4, 1/2, 3/4 and 1 of the way
        ("constant", 0.5, [1, 1, 1, 1, 1]),
        ("linear", 0.5, [1, 0.75, 0.5, 0.25, 0]),
        ("cosine", 0.5, [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0]),
        ("wsd", 0.5, [1, 1, 1, 0.5, 0]),
        ("wsd", 0.25, [1, 1, 1, 1, 0]),
        ("wsd", 0.75, [1, 1, 2 / 3, 1 / 3, 0]),
        ("wsd", 1.0, [1, 0.75, 0.5, 0.25, 0]),
    ],
)
def test_shapes(name, decay_fraction, values):
    assert [SCHEDULES[name](x / 4, decay_fraction) for x in range(5)] == pytest.approx(values, abs=1e-15)


@pytest.mark.parametrize("name", SCHEDULES)
def test_no_schedule_rises_or_leaves_the_unit_interval(name):
    values = [SCHEDULES[name](x / 101, 0.3) for x in range(102)]
    assert values == sorted(values, reverse=True)
    assert (values[0], min(values)) == (1.0, 1.0 if name == "constant" else pytest.approx(0, abs=1e-15))


def rate(step: int, settings: TrainConfig) -> float:
    """Of an update of a run that is as long as `max_steps` says."""
    return learning_rate_at(step, Plan.whole(settings.max_steps, settings.warmup_steps).progress_at(step), settings)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_ends_with_warm_up_and_floor(name):
    settings = TrainConfig(max_steps=17, warmup_steps=5, learning_rate=0.5, min_lr=0.1, schedule=name)
    assert [rate(step, settings) for step in range(5)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert rate(5, settings) == 0.5
    assert rate(17, settings) == pytest.approx(0.5 if name == "constant" else 0.1)
    assert rate(29, settings) == rate(17, settings)  # past the end it stays


def test_halfway_between_peak_and_floor():
    settings = TrainConfig(max_steps=13, warmup_steps=3, learning_rate=0.5, min_lr=0.1, schedule="linear")
    assert rate(8, settings) == pytest.approx(0.3)  # 5 of 10 updates after the warm-up
    assert rate(12, settings) == pytest.approx(0.14)  # the last update, 9 of 10


def test_without_warm_up_the_first_update_has_the_peak():
    settings = TrainConfig(max_steps=7, warmup_steps=0, learning_rate=0.5, schedule="linear")
    assert [rate(step, settings) for step in (0, 7)] == [0.5, 0.0]


def test_a_warm_up_longer_than_the_training_only_rises():
    settings = TrainConfig(max_steps=3, warmup_steps=7, learning_rate=0.7)
    assert [rate(step, settings) for step in range(3)] == pytest.approx([0.1, 0.2, 0.3])
    settings = TrainConfig(max_steps=7, warmup_steps=7, learning_rate=0.7, schedule="linear")
    assert rate(6, settings) == pytest.approx(0.7)
