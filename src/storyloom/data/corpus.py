"""The one pass over the sources: clean, drop duplicates, split; every change and drop is counted.

Knows no tokens. The pass leaves two text files, so that the sources, which may be streams from afar, are read only once
however often their stories are needed.
"""

import math
from collections.abc import Iterable
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np

from storyloom.config import DataConfig
from storyloom.data.cleaning import Cleaned, SeenDigests, Step, clean, cleaning_steps, digests_of
from storyloom.data.parallel import in_batches, ordered_map
from storyloom.data.textfile import join_stories


class Corpus:
    """The stories of some sources, written to `train.txt` and `val.txt`.

    Args:
        folder: where the two files are made.
        settings: `clean` and `strict_characters` are used.
        workers: processes for the cleaning; the files are the same however many.

    Attributes:
        counts: for the manifest. `read`, stories; with cleaning also the stories that each step of `cleaning_steps`
            changed, `dropped_empty`, `dropped_duplicate`, and `validation_altered`, the validation stories among all of
            these; `on_both_sides`, the stories kept out of training since they are validation stories.
        stories: how many were written, by split.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> corpus = Corpus(Path(folder.name), DataConfig(clean=True), workers=1)
    >>> corpus.write(["one", "two"], val_share=1)
    >>> corpus.write(["one", "three  bees", "four", "four"], val_share=0)
    >>> corpus.counts  # doctest: +NORMALIZE_WHITESPACE
    {'read': 6, 'repaired': 0, 'tidied': 1, 'dropped_empty': 0, 'dropped_duplicate': 1, 'validation_altered': 0,
     'on_both_sides': 1}
    >>> corpus.path("train").read_text()
    'three bees\\n<|endoftext|>\\nfour\\n<|endoftext|>\\n'
    >>> folder.cleanup()
    """

    def __init__(self, folder: Path, settings: DataConfig, workers: int) -> None:
        self._folder, self._clean = folder, settings.clean
        self._workers = workers if settings.clean else 1
        self._steps = cleaning_steps(strict=settings.strict_characters) if settings.clean else {}
        self._seen = {"train": SeenDigests(), "val": SeenDigests()}
        drops = ["dropped_empty", "dropped_duplicate", "validation_altered"] if settings.clean else []
        self.counts = dict.fromkeys(["read", *self._steps, *drops, "on_both_sides"], 0)
        self.stories = {"train": 0, "val": 0}
        for split in self.stories:
            self.path(split).touch()

    def path(self, split: str) -> Path:
        """The text file of `train` or `val`."""
        return self._folder / f"{split}.txt"

    def write(self, stories: Iterable[str], val_share: float) -> None:
        """Clean stories and append them to the two files.

        Args:
            stories: normalised ones.
            val_share: share of all possible stories, chosen by their hash, that belong to validation; 1 for a source of
                validation stories, which must be written before its training stories, for which it is 0.

        The hash is that of the story with its white space collapsed: stories that differ in white space only are the
        same one, and never stand on both sides.
        """
        below = math.ceil(val_share * 2**64)
        cleaned = ordered_map(partial(_clean_all, self._steps), in_batches(stories), self._workers)
        with closing(cleaned), self.path("train").open("ab") as train, self.path("val").open("ab") as val:
            for batch in cleaned:
                kept = self._without_empty(batch, counts_as_val=val_share > 0)
                chosen = self._split(kept, below)
                for split, file in (("train", train), ("val", val)):
                    file.write(join_stories(chosen[split]).encode("utf-8"))
                    self.stories[split] += len(chosen[split])

    def _without_empty(self, batch: list[Cleaned], counts_as_val: bool) -> list[Cleaned]:
        """Count what was read; no one can tell by its hash on which side an emptied story would have been."""
        self.counts["read"] += len(batch)
        for name in self._steps:
            self.counts[name] += sum(name in story.changed_by for story in batch)
        kept = [story for story in batch if story.text]
        if self._clean:
            self.counts["dropped_empty"] += len(batch) - len(kept)
            self.counts["validation_altered"] += (len(batch) - len(kept)) * counts_as_val
        return kept

    def _split(self, stories: list[Cleaned], below: int) -> dict[str, list[str]]:
        """The stories of each side, without duplicates and without those of training that validation has."""
        digests = digests_of([" ".join(story.text.split()) for story in stories])
        in_val = digests < below
        is_new = np.ones(len(stories), bool)
        is_new[in_val] = self._seen["val"].add(digests[in_val])
        on_both = ~in_val & self._seen["val"].find(digests)
        self.counts["on_both_sides"] += int(on_both.sum())
        in_train = ~in_val & ~on_both
        if self._clean:
            is_new[in_train] = self._seen["train"].add(digests[in_train])
            altered = ~is_new | np.array([bool(story.changed_by) for story in stories], bool)
            self.counts["dropped_duplicate"] += int((~is_new).sum())
            self.counts["validation_altered"] += int((altered & in_val).sum())
        else:
            is_new[:] = True
        sides = {"train": in_train & is_new, "val": in_val & is_new}
        return {split: [stories[i].text for i in np.flatnonzero(side)] for split, side in sides.items()}


def _clean_all(steps: dict[str, Step], stories: list[str]) -> list[Cleaned]:
    return [clean(story, steps) for story in stories]
