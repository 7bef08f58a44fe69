"""The one pass: which story lands on which side, and that all is counted; by hand and against sets and dictionaries."""

import re
from hashlib import blake2b
from pathlib import Path

import pytest

from storyloom.config import DataConfig
from storyloom.data import parallel
from storyloom.data.corpus import Corpus
from storyloom.data.textfile import TextFile


@pytest.fixture(params=[1, 3, 1000])
def _batches_of(request, monkeypatch):
    """A duplicate may stand in the same batch or in another one."""
    monkeypatch.setattr(parallel, "STORIES_AT_ONCE", request.param)


def corpus_in(folder: Path, **settings) -> Corpus:
    return Corpus(folder, DataConfig(**settings), workers=1)


def sides(corpus: Corpus) -> dict[str, list[str]]:
    return {split: list(TextFile(corpus.path(split))) for split in ("train", "val")}


@pytest.mark.usefixtures("_batches_of")
def test_without_cleaning_only_the_validation_stories_are_kept_out(tmp_path):
    corpus = corpus_in(tmp_path)
    corpus.write(["a", "b", "a", "c  d"], val_share=1)
    corpus.write(["e", "b", "e", "c d", "b", "“f”"], val_share=0)
    assert sides(corpus) == {"val": ["a", "b", "a", "c  d"], "train": ["e", "e", "“f”"]}
    assert corpus.counts == {"read": 10, "on_both_sides": 3}  # twice b; c d, which differs in white space only
    assert corpus.stories == {"train": 3, "val": 4}


@pytest.mark.usefixtures("_batches_of")
def test_every_change_and_drop_is_counted(tmp_path):
    corpus = corpus_in(tmp_path, clean=True)
    corpus.write(["a", "b", "“a”", '"a"', "c  d", "\x07", "b"], val_share=1)  # two repaired, one of them to nothing
    corpus.write(["e", "c\td", "e ", "\x07", "f", "“e”", "f", "f"], val_share=0)
    assert sides(corpus) == {"val": ["a", "b", '"a"', "c d"], "train": ["e", "f", '"e"']}
    assert corpus.counts == {
        "read": 15,
        "repaired": 4,
        "tidied": 3,  # c  d, c\td, e with a space behind it
        "dropped_empty": 2,
        "dropped_duplicate": 5,  # '"a"', b; e, f, f
        "validation_altered": 5,  # “a”, its duplicate, c  d, the empty one, b again
        "on_both_sides": 1,
    }


@pytest.mark.usefixtures("_batches_of")
@pytest.mark.parametrize("clean", [False, True])
def test_the_hash_decides_the_side_of_the_cleaned_story(tmp_path, clean):
    """Stories that differ in white space only once landed on both sides, unless they were cleaned."""
    share, read = 0.37, [f"{n % 61}{' ' * (n % 3 + 1)}Bees" for n in range(211)]
    corpus = corpus_in(tmp_path, clean=clean)
    corpus.write(read, val_share=share)
    expected: dict[str, list[str]] = {"train": [], "val": []}
    altered = 0
    for story in read:
        collapsed = re.sub(" +", " ", story)
        cleaned = collapsed if clean else story
        digest = int.from_bytes(blake2b(collapsed.encode(), digest_size=8).digest(), "big")
        split = "val" if digest / 2**64 < share else "train"
        repeated = clean and cleaned in expected[split]
        altered += split == "val" and (cleaned != story or repeated)
        if not repeated:
            expected[split].append(cleaned)
    assert sides(corpus) == expected
    assert len(expected["val"]) > 15
    collapsed_sides = [{re.sub(" +", " ", story) for story in expected[split]} for split in ("train", "val")]
    assert not set.intersection(*collapsed_sides)
    assert corpus.counts.get("validation_altered", 0) == altered
    assert corpus.counts["on_both_sides"] == 0


def test_an_emptied_story_may_have_been_for_validation(tmp_path):
    """Its hash tells nothing any more, so that no one can say it was not."""
    corpus = corpus_in(tmp_path, clean=True, strict_characters=True)
    corpus.write(["***", "a"], val_share=0.5)
    assert corpus.counts["validation_altered"] == corpus.counts["dropped_empty"] == 1
    assert corpus.counts["stripped_of_characters"] == 1


def test_a_story_may_hold_the_separator(tmp_path):
    stories = ["a\n<|endoftext|>\nb", "\\<|endoftext|>", "c"]
    corpus = corpus_in(tmp_path)
    corpus.write(stories, val_share=1)
    assert sides(corpus)["val"] == stories
