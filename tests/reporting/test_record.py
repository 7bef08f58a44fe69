import math

import pytest

import storyloom
from storyloom.errors import RunError
from storyloom.reporting.record import OWN, STORYBOOK, TINYSTORIES, Record

from .runs import BYTES, BYTES_PER_TOKEN, SCORED, TOKENS, scored, train


def test_a_run_without_a_step_is_refused(make_record):
    with pytest.raises(RunError, match=r"no metrics to draw yet: let it train for a step"):
        make_record([])


def test_bits_follow_from_the_validation_text(make_record):
    record = make_record([4.0, 3.0], [(2, 3.5)])
    assert record.bytes_per_token == BYTES / SCORED
    assert record.bits(math.log(2)) == pytest.approx(SCORED / BYTES)


def test_bits_before_an_evaluation_follow_from_the_training_text(make_record):
    assert make_record([4.0, 3.0]).bytes_per_token == pytest.approx(2.9)


def test_the_limit_is_that_of_the_final_text(make_record):
    record = make_record([4.0], [(1, 3.5)], scored(3.5) | {"limit_bits_per_byte": 0.5})
    assert record.limits == [pytest.approx(0.5 * math.log(2) * BYTES_PER_TOKEN)]
    assert make_record([4.0], [(1, 3.5)], scored(3.5), name="other").limits == []


def test_what_is_measured_belongs_to_the_checkpoint(make_record):
    """The last row is of the best weights: the last ones were not scored on all stories where they are others."""
    record = make_record([4.0] * 9, [(3, 3.5), (6, 3.2), (9, 3.4)], scored(3.25, stories=97))
    best, last = record.measured("best"), record.measured("last")
    assert best is not None
    assert last is not None
    assert (best.row["nats_per_token"], best.step, best.is_all) == (3.25, 6, True)
    assert (last.row["nats_per_token"], last.step, last.is_all) == (3.4, 9, False)


def test_where_the_last_is_the_best_both_are_the_same(make_record):
    record = make_record([4.0] * 6, [(3, 3.5), (6, 3.2)], scored(3.25, stories=97))
    assert record.measured("last") == record.measured("best")


def test_an_interrupted_run_has_what_it_has(make_record):
    record = make_record([4.0] * 6, [(3, 3.5)], max_steps=11)
    found = record.measured()
    assert found is not None
    assert (found.step, found.is_all, record.max_steps) == (3, False, 11)
    assert make_record([4.0], name="sooner").measured() is None


def test_minutes_are_wall_clock_only_for_a_run_in_one_go(make_record):
    record = make_record([4.0] * 6, (), scored(3.5))
    assert record.minutes == 1.7
    record.starts.append(record.starts[0])  # gone on with later: the final row knows the last part alone
    assert record.minutes == 6 * 0.5 / 60


def test_tokens_at_a_step(make_record):
    assert make_record([4.0] * 6).tokens_at(5) == 5 * TOKENS


@pytest.mark.parametrize(
    ("source", "kind"), [("storybook", STORYBOOK), ("tinystories", TINYSTORIES), ("my.txt", OWN)], ids=str
)
def test_the_text_is_known_by_its_source(make_record, source, kind):
    assert make_record([4.0], origin={"source": source}).text_kind == kind


def test_the_text_is_known_by_its_data(finished):
    record = Record(finished)
    assert record.data is not None
    assert record.text_kind == STORYBOOK


def test_data_that_is_another_by_now_is_not_the_runs(tmp_path):
    text = "\n<|endoftext|>\n".join(f"In year {i} a cat met {i * i} dogs." for i in range(97))
    (tmp_path / "my.txt").write_text(text, encoding="utf-8")
    data = storyloom.prepare(tmp_path / "my.txt", out=tmp_path / "D", vocab_size=263)
    run = train(data, tmp_path / "R", "train.max_steps=2")
    assert Record(run).data is not None
    manifest = tmp_path / "D" / "manifest.json"
    manifest.write_text(manifest.read_text(encoding="utf-8") + " ", encoding="utf-8")
    assert Record(run).data is None


def test_the_training_loss_at_a_step_looks_back_only(make_record):
    """Of 150 updates the window is 3; at the end a running mean's window would have shrunk to one update."""
    record = make_record([float(step) for step in range(1, 151)])
    assert [record.training_loss_at(step) for step in (1, 2, 100, 150)] == [1.0, 1.5, 99.0, 149.0]
