import math

import numpy as np
import pytest

from storyloom.reporting import diagnosis

from .runs import SECONDS, TOKENS, scored

LN_53 = 3.97


def test_a_first_loss_at_the_uniform_guess_is_good(make_record):
    finding = diagnosis.first_loss(make_record([math.log(53) + 0.1, 3.0]))
    assert finding.mood == "good"
    assert "4.07 nats/token" in finding.text
    assert f"ln 53 is {LN_53}" in finding.text


@pytest.mark.parametrize(("first", "words"), [(17.56, "13.59 above"), (2.5, "1.47 below")])
def test_a_first_loss_elsewhere_is_to_be_watched(make_record, first, words):
    finding = diagnosis.first_loss(make_record([first, 3.0]))
    assert finding.mood == "watch"
    assert f"{words} the {LN_53} of a uniform guess" in finding.text


def test_other_weights_may_begin_where_they_will(make_record):
    finding = diagnosis.first_loss(make_record([1.5], origin={"init": "/somewhere"}))
    assert finding.mood == "plain"
    assert "from another run's weights" in finding.text


def noise(count):
    """Of mean 0 in each half, so that tenths of a run differ by nothing."""
    return 0.1 * np.resize([1.0, -1.0], count)


def test_a_falling_loss_is_seen(make_record):
    losses = np.concatenate([np.full(160, 4.0), np.full(20, 3.0), np.full(20, 2.5)]) + noise(200)
    finding = diagnosis.direction(make_record(losses.tolist()))
    stderr = math.sqrt(2 * (20 / 19 * 0.01) / 20)  # of the difference of two means of 20
    assert f"3.000, then 2.500 (a change of -0.500 ± {stderr:.3f})" in finding.text
    assert "still fell" in finding.text


@pytest.mark.parametrize(
    ("evaluations", "words"),
    [
        ([(150, 3.5), (200, 3.25)], "Validation fell by 0.250"),
        ([(150, 3.25), (200, 3.5)], "Validation did not: it rose by 0.250"),
    ],
)
def test_validation_has_its_say_in_a_falling_loss(make_record, evaluations, words):
    losses = np.concatenate([np.full(180, 3.0), np.full(20, 2.5)]) + noise(200)
    assert words in diagnosis.direction(make_record(losses.tolist(), evaluations)).text


def test_a_level_loss_is_seen(make_record):
    assert "was level" in diagnosis.direction(make_record((3 + noise(200)).tolist())).text


def test_a_rising_loss_is_to_be_watched(make_record):
    losses = np.concatenate([np.full(180, 3.0), np.full(20, 3.5)]) + noise(200)
    finding = diagnosis.direction(make_record(losses.tolist()))
    assert finding.mood == "watch"
    assert "a change of +0.500" in finding.text


def test_a_short_run_has_no_slope(make_record):
    assert diagnosis.direction(make_record([3.0] * 49)) is None
    assert diagnosis.direction(make_record([3.0] * 50, name="longer")) is not None


@pytest.mark.parametrize(
    ("validation", "mood", "words"),
    [
        (2.1, "good", "0.100 above the training loss of 2.000"),
        (1.9, "good", "0.100 below the training loss of 2.000"),
        (2.5, "watch", "learn its text by heart"),
    ],
)
def test_validation_against_training(make_record, validation, mood, words):
    finding = diagnosis.generalisation(make_record([2.0] * 7, [(7, validation)]))
    assert finding.mood == mood
    assert words in finding.text


def test_nothing_is_said_of_what_was_not_evaluated(make_record):
    record = make_record([2.0] * 7)
    assert diagnosis.generalisation(record) is None
    assert diagnosis.best_checkpoint(record) is None


def test_a_best_checkpoint_on_the_way_is_overfitting(make_record):
    finding = diagnosis.best_checkpoint(make_record([2.0] * 9, [(3, 2.5), (6, 2.25), (9, 2.375)]))
    assert finding.mood == "watch"
    assert "best at step 6 and has risen by 0.125 since" in finding.text


def test_a_best_checkpoint_at_the_end_is_good(make_record):
    assert diagnosis.best_checkpoint(make_record([2.0] * 6, [(3, 2.5), (6, 2.25)])).mood == "good"


def test_clipped_updates_are_counted_after_the_warm_up(make_record):
    """The norms are 1, 1/2, 1/3, ...: of those after the first two updates two of five are above 0.22."""
    finding = diagnosis.gradients(make_record([2.0] * 7, warmup_steps=2, grad_clip=0.22))
    assert "0.25 in the middle, at most 1 (step 1)" in finding.text
    assert "40.0% of the updates were clipped to 0.22" in finding.text
    assert finding.mood == "plain"


def test_a_gradient_that_is_mostly_clipped_is_to_be_watched(make_record):
    finding = diagnosis.gradients(make_record([2.0] * 7, warmup_steps=2, grad_clip=0.15))
    assert finding.mood == "watch"
    assert "80.0%" in finding.text


def test_without_clipping_nothing_is_clipped(make_record):
    assert "nothing was clipped" in diagnosis.gradients(make_record([2.0] * 7, grad_clip=None)).text


@pytest.mark.parametrize(
    ("updates", "mood", "words"), [(7, "plain", "70%"), (23, "good", "2.3 times"), (47, "watch", "4.7 times")]
)
def test_how_often_the_text_was_read(make_record, updates, mood, words):
    """An invented run reads a tenth of its text in each update."""
    finding = diagnosis.repeats(make_record([2.0] * updates))
    assert (finding.mood, words in finding.text) == (mood, True)


def test_an_even_speed(make_record):
    finding = diagnosis.speed(make_record([2.0] * 7))
    assert (
        f"{TOKENS / SECONDS:,.0f} tokens/s in the middle ({TOKENS / SECONDS * 89_000 / 1e9:,.0f} GFLOP/s)"
        in finding.text
    )
    assert finding.mood == "plain"


def test_a_disturbed_speed_is_to_be_watched(make_record):
    record = make_record([2.0] * 20)
    for row in record.train[3:6]:
        row["tokens_per_second"] /= 10
    assert diagnosis.speed(record).mood == "watch"


def test_a_stopped_run_says_where(make_record):
    finding = diagnosis.ending(make_record([2.0] * 7, max_steps=11))
    assert finding.mood == "watch"
    assert "stopped at step 7 of 11" in finding.text


def test_patience_is_a_reason_to_stop(make_record):
    finding = diagnosis.ending(make_record([2.0] * 7, [(7, 2.5)], scored(2.5), max_steps=11, patience=5))
    assert "stopped early, at step 7 of 11: 5 evaluations brought no lower loss" in finding.text
    assert diagnosis.ending(make_record([2.0] * 7, [(7, 2.5)], scored(2.5), name="whole")) is None


def test_the_distance_to_the_limit(make_record):
    figures = {"limit_bits_per_byte": 0.5, "gap_bits_per_byte": 0.02, "gap_bits_per_byte_stderr": 0.003}
    finding = diagnosis.distance(make_record([2.0], [(1, 2.5)], scored(2.5) | figures))
    assert "than 0.5000 bits/byte; this one is 0.0200 ± 0.0030 above, 4.0% of the limit" in finding.text


def test_a_single_story_has_no_error_to_speak_of(make_record):
    figures = {"limit_bits_per_byte": 0.5, "gap_bits_per_byte": 0.02, "gap_bits_per_byte_stderr": None}
    assert "± nan" not in diagnosis.distance(make_record([2.0], [(1, 2.5)], scored(2.5) | figures)).text


def test_findings_come_in_order_and_only_where_there_are_some(make_record):
    record = make_record([math.log(53), 3.0], max_steps=11)
    assert [finding.about for finding in diagnosis.diagnose(record)] == [
        "the end",
        "the beginning",
        "the text",
        "the gradient",
        "the speed",
    ]
