import json
import math
from dataclasses import replace

import numpy as np
import pytest

from storyloom.reporting import diagnosis
from storyloom.reporting.record import Record

from .runs import BYTES_PER_TOKEN, scored, train

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


def test_of_updates_that_were_not_kept_nothing_is_said(make_record):
    """Metrics that were lost, and a run that went on: the warm-up is told by its steps, not by its place."""
    record = make_record([2.0] * 11, warmup_steps=4, grad_clip=0.22)
    whole = diagnosis.gradients(record)
    record = Record(cut_before(record, 4))
    assert diagnosis.first_loss(record) is None
    assert (
        diagnosis.gradients(record).text.partition("after the warm-up")[2]
        == whole.text.partition("after the warm-up")[2]
    )


def cut_before(record, step):
    """The run's folder, without the rows of its first updates."""
    path = record.run.path / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    kept = [row for row in rows if row["kind"] != "train" or row["step"] >= step]
    path.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
    return record.run.path


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
        ([(150, 3.25), (200, 3.2504)], "Validation did not: it stayed where it was"),
    ],
)
def test_validation_has_its_say_in_a_falling_loss(make_record, evaluations, words):
    losses = np.concatenate([np.full(180, 3.0), np.full(20, 2.5)]) + noise(200)
    assert words in diagnosis.direction(make_record(losses.tolist(), evaluations)).text


@pytest.mark.parametrize(
    ("scale", "words"), [(0.4, "was level"), (1, "any change of the training loss is smaller than its noise")]
)
def test_a_loss_that_does_not_move_is_level_only_where_its_noise_is_small(make_record, scale, words):
    """The noise is 0.1: two standard errors of the difference of means of 20 are 0.065, of a loss of 3 that is 2 %."""
    finding = diagnosis.direction(make_record((3 + scale * noise(200)).tolist()))
    assert words in finding.text
    assert ("little" in finding.text) == (scale < 1)


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
        (2.5, "watch", "0.500 above the training loss of 2.000: it has begun to learn its text by heart"),
    ],
)
def test_validation_against_training(make_record, validation, mood, words):
    finding = diagnosis.generalization(make_record([2.0] * 101, [(101, validation)]))
    assert finding.mood == mood
    assert words in finding.text


@pytest.mark.parametrize(
    ("stderr", "epoch", "is_known"),
    [
        (0.24 / (math.log(2) * BYTES_PER_TOKEN), 10, True),
        (0.26 / (math.log(2) * BYTES_PER_TOKEN), 10, False),  # a gap of 0.5 is below two standard errors
        (None, 10, False),  # one story
        (0.01, 211, False),  # half an epoch: there was nothing to learn by heart
    ],
)
def test_a_gap_is_overfitting_only_where_it_is_known_and_text_was_repeated(make_record, stderr, epoch, is_known):
    record = make_record([2.0] * 101, [(101, 2.5)], epoch=epoch)
    record.evaluations[0] = replace(record.evaluations[0], bits_per_byte_stderr=stderr)
    finding = diagnosis.generalization(record)
    assert ("learn its text by heart" in finding.text, finding.mood == "watch") == (is_known, is_known)
    assert ("harder than the training text, or too few to tell" in finding.text) != is_known


def test_of_a_short_run_nothing_is_said(make_record):
    record = make_record([2.0] * 99, [(99, 2.5)])
    assert (diagnosis.generalization(record), diagnosis.speed(record)) == (None, None)


def test_nothing_is_said_of_what_was_not_evaluated(make_record):
    record = make_record([2.0] * 101)
    assert diagnosis.generalization(record) is None
    assert diagnosis.best_checkpoint(record) is None


def test_a_best_checkpoint_on_the_way_is_overfitting(make_record):
    finding = diagnosis.best_checkpoint(make_record([2.0] * 9, [(3, 2.5), (6, 2.25), (9, 2.375)], scored(2.25)))
    assert finding.mood == "watch"
    assert "lowest at step 6" in finding.text
    assert "risen by 0.125. A shorter run, or `train.patience`, saves the rest." in finding.text


def test_patience_is_no_advice_for_whom_has_it_or_is_under_way(make_record):
    evaluations = [(3, 2.5), (6, 2.25), (9, 2.375)]
    patient = make_record([2.0] * 9, evaluations, scored(2.25), name="patient", patience=1)
    for record in (patient, make_record([2.0] * 9, evaluations, max_steps=11)):
        finding = diagnosis.best_checkpoint(record)
        assert finding.mood == "watch"
        assert finding.text.endswith("since then it has risen by 0.125.")


@pytest.mark.parametrize(("last", "mood"), [(2.26, "plain"), (2.28, "watch")])
def test_a_rise_is_to_be_watched_from_one_percent(make_record, last, mood):
    """1 % of 2.25 is 0.0225."""
    finding = diagnosis.best_checkpoint(make_record([2.0] * 9, [(6, 2.25), (9, last)], scored(2.25)))
    assert finding.mood == mood
    assert ("has hardly changed (+0.010)" in finding.text) == (mood == "plain")


def test_a_best_checkpoint_at_the_end_is_good(make_record):
    finding = diagnosis.best_checkpoint(make_record([2.0] * 6, [(3, 2.5), (6, 2.25)]))
    assert finding.mood == "good"
    assert "step 6, was the lowest so far: validation has not begun to rise" in finding.text


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
    assert "raise `train.grad_clip`" in finding.text


def test_a_run_that_is_all_warm_up_was_clipped_no_share_of_its_time(make_record):
    finding = diagnosis.gradients(make_record([2.0] * 7, warmup_steps=11, grad_clip=0.15))
    assert finding.text == "The gradient's norm was 0.25 in the middle, at most 1 (step 1)."
    assert finding.mood == "plain"


def test_without_clipping_nothing_is_clipped(make_record):
    assert "nothing was clipped" in diagnosis.gradients(make_record([2.0] * 7, grad_clip=None)).text


@pytest.mark.parametrize(
    ("updates", "epoch", "mood", "words"),
    [
        (7, 10, "plain", "It read 70% of its text, nothing twice"),
        (7, 2003, "plain", "It read 0.35% of its text, nothing twice"),
        (23, 10, "good", "2.3 times"),
        (47, 10, "watch", "4.7 times"),
    ],
)
def test_how_often_the_text_was_read(make_record, updates, epoch, mood, words):
    finding = diagnosis.repeats(make_record([2.0] * updates, epoch=epoch))
    assert (finding.mood, words in finding.text) == (mood, True)


@pytest.mark.parametrize("rows", ["padded", "aligned"])
def test_rows_that_cut_or_overlap_are_counted_by_their_tokens(make_record, story_data, tmp_path, rows):
    """A pass over all rows is no pass over the text: padded rows cut its stories, aligned ones overlap."""
    assert diagnosis.repeats(make_record([2.0] * 7, rows=rows)) is None, "without the data no one can tell"
    settings = ["train.max_steps=97", "train.eval_interval=97", "train.sample_interval=97", f"data.rows={rows}"]
    record = Record(train(story_data, tmp_path / "rows", *settings))
    times = record.train[-1].tokens / story_data.manifest.train.tokens
    finding = diagnosis.repeats(record)
    assert f"each token of its text {times:.2g} times on average" in finding.text
    assert "twice" not in finding.text


def test_an_even_speed(make_record):
    """113 tokens in half a second are 226 a second, at 89,000 operations each 0.0201 billion."""
    finding = diagnosis.speed(make_record([2.0] * 101))
    assert "226 tokens/s in the middle (0.0201 GFLOP/s), and from 226 or more" in finding.text
    assert finding.mood == "plain"


def test_an_uneven_speed_is_to_be_watched_and_its_cause_not_known(make_record):
    record = make_record([2.0] * 101)
    record.train[3:11] = [replace(row, tokens_per_second=22.6) for row in record.train[3:11]]
    finding = diagnosis.speed(record)
    assert finding.mood == "watch"
    assert finding.text.endswith("but from less than 23 in its slowest twentieth.")


def test_the_first_update_after_a_start_says_nothing_of_the_speed(make_record):
    """It may have compiled the step. Seven of 101 are a slowest twentieth."""
    record = make_record([2.0] * 101)
    record.starts = [replace(record.starts[0], step=step) for step in range(0, 91, 15)]
    for start in record.starts:
        record.train[start.step] = replace(record.train[start.step], tokens_per_second=1.0)
    assert diagnosis.speed(record).mood == "plain"


def test_rows_of_other_lengths_have_other_speeds(make_record):
    record = make_record([2.0] * 101, rows="padded")
    record.train[3:11] = [replace(row, tokens_per_second=22.6) for row in record.train[3:11]]
    assert diagnosis.speed(record).text == "It learned from 226 tokens/s in the middle (0.0201 GFLOP/s)."


def test_an_unfinished_run_says_how_far_it_is(make_record):
    finding = diagnosis.ending(make_record([2.0] * 7, max_steps=11))
    assert (finding.mood, finding.text) == ("plain", "It has come to step 7 of 11.")


def test_patience_is_a_reason_to_stop(make_record):
    finding = diagnosis.ending(make_record([2.0] * 7, [(7, 2.5)], scored(2.5), max_steps=11, patience=5))
    assert "stopped early, at step 7 of 11: 5 evaluations brought no lower loss" in finding.text
    assert diagnosis.ending(make_record([2.0] * 7, [(7, 2.5)], scored(2.5), name="whole")) is None


def test_the_distance_to_the_limit(make_record):
    figures = {"limit_bits_per_byte": 0.5, "gap_bits_per_byte": 0.02, "gap_bits_per_byte_stderr": 0.003}
    finding = diagnosis.distance(make_record([2.0], [(1, 2.5)], scored(2.5) | figures))
    assert "On average no model can do better on such stories than 0.5000 bits/byte" in finding.text
    assert "`best` is 0.0200 ± 0.0030 above, 4.0% of the limit" in finding.text


def test_a_single_story_has_no_error_to_speak_of(make_record):
    figures = {"limit_bits_per_byte": 0.5, "gap_bits_per_byte": 0.02, "gap_bits_per_byte_stderr": None}
    assert "is 0.0200 ± – above" in diagnosis.distance(make_record([2.0], [(1, 2.5)], scored(2.5) | figures)).text


def test_findings_come_in_order_and_only_where_there_are_some(make_record):
    record = make_record([math.log(53), 3.0], max_steps=11)
    assert [finding.about for finding in diagnosis.diagnose(record)] == [
        "so far",
        "the beginning",
        "the text",
        "the gradient",
    ]
