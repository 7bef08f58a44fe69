from itertools import pairwise

from storyloom.reporting import stories

from .runs import TOKENS


def test_a_film_keeps_the_first_and_the_last_frame(make_record):
    samples = [(step, f"story {step}") for step in range(1, 54)]
    record = make_record([4.0] * 53, samples=samples)
    frames = stories.film(record, most=7)
    assert len(frames) == 7
    assert [frames[0].story, frames[-1].story] == ["story 1", "story 53"]
    assert [frame.tokens for frame in frames] == [TOKENS * frame.step for frame in frames]
    gaps = {after.step - before.step for before, after in pairwise(frames)}
    assert max(gaps) - min(gaps) <= 1
