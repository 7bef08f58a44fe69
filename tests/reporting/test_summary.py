from dataclasses import replace

import pytest

import storyloom
from storyloom.reporting import summary
from storyloom.reporting.record import Record

from .runs import scored, train


def test_of_many_files_the_first_are_named(tmp_path):
    for number in range(7):
        stories = [f"In year {i} a cat met {i * number} dogs." for i in range(31)]
        (tmp_path / f"{number}.txt").write_text("\n<|endoftext|>\n".join(stories), encoding="utf-8")
    data = storyloom.prepare(*sorted(tmp_path.glob("*.txt")), out=tmp_path / "D", tokenizer="char")
    record = Record(train(data, tmp_path / "R", "train.max_steps=2", "train.eval_stories=1"))
    assert summary.text_of(record).startswith("0.txt, 1.txt, 2.txt and 4 more (")


def test_the_time_is_that_on_the_wall_where_it_is_known(make_record):
    """Sixty updates of half a second are half a minute."""
    finished = make_record([4.0] * 60, [(60, 3.5)], scored(3.5))
    assert "6 epochs, in 1.7 minutes with all evaluations, on the CPU with 3 threads" in summary.headline(finished)
    finished.starts.append(replace(finished.starts[0], step=3))  # continued later: the final row knows all parts
    assert "in 1.7 minutes with all evaluations, on" in summary.headline(finished)
    assert "in 0.5 minutes of updates, on" in summary.headline(make_record([4.0] * 60, name="unfinished"))


def test_a_small_part_of_the_text_is_not_nothing(make_record):
    assert "tokens, 0.0035 epochs, in" in summary.headline(make_record([4.0] * 7, epoch=2003))


@pytest.mark.parametrize(("device", "named"), [("mps", "on an mps device"), ("cuda:0", "on a cuda:0 device")])
def test_devices_by_their_names(make_record, device, named):
    record = make_record([4.0])
    record.starts[0] = replace(record.starts[0], device=device)
    assert named in summary.headline(record)
