import math
import os
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import storyloom
from storyloom.errors import RunError
from storyloom.reporting.record import OWN, STORYBOOK, TINYSTORIES, Record

from .runs import BYTES, BYTES_PER_TOKEN, SCORED, TOKENS, scored, train


def test_a_run_without_a_step_is_refused(make_record):
    with pytest.raises(RunError, match=r"no metrics to draw yet: let it train for a step"):
        make_record([])


def test_samples_whose_update_is_not_kept_are_left_out(make_record):
    record = make_record([4.0, 3.0, 2.0], samples=[(2, "a cat"), (5, "a dog")])
    assert [row.story for row in record.samples] == ["a cat"]


def test_metrics_without_their_beginning_are_refused(make_record):
    path = make_record([4.0, 3.0]).run.path / "metrics.jsonl"
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[1:]), encoding="utf-8")
    with pytest.raises(RunError, match="no metrics to draw yet"):
        Record(path.parent)


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
    assert (best.row.nats_per_token, best.step, best.is_all) == (3.25, 6, True)
    assert (last.row.nats_per_token, last.step, last.is_all) == (3.4, 9, False)


def test_where_the_last_is_the_best_both_are_the_same(make_record):
    record = make_record([4.0] * 6, [(3, 3.5), (6, 3.2)], scored(3.25, stories=97))
    assert record.measured("last") == record.measured("best")


def test_an_interrupted_run_has_what_it_has(make_record):
    record = make_record([4.0] * 6, [(3, 3.5)], max_steps=11)
    found = record.measured()
    assert found is not None
    assert (found.step, found.is_all, record.max_steps) == (3, False, 11)
    assert make_record([4.0], name="sooner").measured() is None


def test_the_time_of_updates_and_that_on_the_wall(make_record):
    record = make_record([4.0] * 6, (), scored(3.5))
    assert (record.minutes, record.wall_minutes) == (6 * 0.5 / 60, 1.7)
    record.starts.append(replace(record.starts[0], step=3))  # continued later: the final row knows all parts
    assert record.wall_minutes == 1.7
    assert make_record([4.0], name="unfinished").wall_minutes is None


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


@pytest.mark.parametrize(
    ("sources", "split", "kind"),
    [
        (["TinyStories-train.txt"], "by hash of the story", TINYSTORIES),
        (["tinystories", "my.txt"], "by hash of the story", OWN),
        (["tinystories", "storybook"], "by hash of the story", OWN),
        (["storybook", "storybook"], "by hash of the story", STORYBOOK),
        (["tinystories"], "validation from my.txt", OWN),
        (["my.txt"], "validation from ../tinystories/valid.txt", TINYSTORIES),
        (["tinystories"], "validation from storybook", STORYBOOK),
        (["hub:x/TinyStories"], "validation from the split `validation` of hub:x/TinyStories", TINYSTORIES),
    ],
)
def test_the_text_is_what_is_validated_on(make_record, sources, split, kind):
    record = make_record([4.0])
    record.data = invented_data(sources, split=split, storybook="version 7")
    assert record.text_kind == kind


def test_a_folder_of_that_name_is_no_storybook(make_record):
    record = make_record([4.0])
    record.data = invented_data(["storybook"])
    assert record.text_kind == OWN


def invented_data(sources, split="by hash of the story", altered=0, unknown=0, **manifest) -> Any:
    """What a record reads of a data folder."""
    found = {"corpus": {"validation_altered": altered}, "storybook": None} | manifest
    val, train = SimpleNamespace(stories_with_unknown_characters=unknown), SimpleNamespace(tokens=226)
    return SimpleNamespace(manifest=SimpleNamespace(sources=sources, split_by=split, train=train, val=val, **found))


def test_whether_a_run_can_be_compared_is_known_before_its_end(make_record):
    """Once it is finished, `evaluate` has said so; before, the data knows."""
    record = make_record([4.0], [(1, 3.5)])
    assert "the data is gone" in record.why_not_comparable
    record.data = invented_data(["a.txt"])
    assert record.why_not_comparable is None
    record.data = invented_data(["a.txt"], altered=1009)
    assert record.why_not_comparable == "cleaning changed or dropped 1,009 of its stories"
    record.data = invented_data(["a.txt"], altered=7, unknown=3)
    unknown = "the text has characters the tokenizer does not know"
    assert record.why_not_comparable == f"{unknown}, and cleaning changed or dropped 7 of its stories"
    assert make_record([4.0], [(1, 3.5)], scored(3.5), name="finished").why_not_comparable is None


def test_how_often_the_text_was_read_is_counted_by_tokens(make_record):
    record = make_record([4.0] * 7, rows="aligned", epoch=113)
    assert (record.times_read, record.has_repeated) == (None, False)
    record.data = invented_data(["a.txt"])
    assert (record.times_read, record.has_repeated) == (7 * TOKENS / 226, True)


def test_a_column_is_read_once(make_record):
    record = make_record([4.0, 3.0])
    np.testing.assert_array_equal(record.column("loss"), [4.0, 3.0])
    assert record.column("loss") is record.column("loss")
    with pytest.raises(AttributeError, match="dreams"):
        record.column("dreams")


def test_a_norm_that_is_not_known_is_nan(make_record):
    record = make_record([4.0, 3.0])
    record.train[0] = replace(record.train[0], grad_norm=None)
    np.testing.assert_array_equal(record.column("grad_norm"), [math.nan, 0.5])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="file names are text here")
def test_a_folders_name_may_be_any_bytes(make_record):
    assert make_record([4.0], name=os.fsdecode(b"caf\xe9")).name == "caf?"


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
