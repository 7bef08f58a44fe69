"""Cleaning: repairs of a story's characters and white space, and which stories stood before. Knows no files.

Each step is a pure function of a story, and cleaning a cleaned story changes nothing.
"""

import re
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import NamedTuple

import numpy as np

Step = Callable[[str], str]


def repair(story: str) -> str:
    """Undo broken encodings, bring characters to Unicode's composed form (NFC), make curly quotes straight.

    All of it by ftfy (Speer, "ftfy", 2019, doi 10.5281/zenodo.2591652), line by line as it works itself; a line of
    printable ASCII has nothing to repair, and most have only that. HTML entities stay: a story may speak of them.

    >>> repair("She said â€œno, ZoÃ«â€\x9d.")
    'She said "no, Zoë".'
    """
    if story.isascii() and story.replace("\n", "").isprintable():
        return story
    import ftfy  # a twentieth of a second, which no other command is to wait

    settings = ftfy.TextFixerConfig(unescape_html=False, explain=False)
    lines = story.split("\n")
    return "\n".join(line if line.isascii() and line.isprintable() else ftfy.fix_text(line, settings) for line in lines)


def keep_strict_characters(story: str) -> str:
    """Keep only ASCII letters, digits, `.,!?;:'"` and white space.

    >>> keep_strict_characters('"Hi" - Zoë (7)!')
    '"Hi"  Zo 7!'
    """
    return re.sub(r"""[^A-Za-z0-9.,!?;:'"\s]""", "", story)


def tidy_white_space(story: str) -> str:
    r"""One space for each run of spaces, tabs and no-break spaces, none at a line's ends, at most one blank line.

    >>> tidy_white_space("one\u00a0 two\t\n\n\n\nthree")
    'one two\n\nthree'
    """
    lines = [" ".join(line.split()) for line in story.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def tidy_strictly(story: str) -> str:
    r"""White space as `tidy_white_space` leaves it, and no blank lines at all.

    >>> tidy_strictly("one \n\n\ntwo")
    'one\ntwo'
    """
    return re.sub(r"\n+", "\n", tidy_white_space(story))


def cleaning_steps(*, strict: bool) -> dict[str, Step]:
    """The steps in their order, each under the name that its changes are counted by.

    Args:
        strict: keep only the characters of `keep_strict_characters`, and no blank lines.
    """
    if strict:
        return {"repaired": repair, "stripped_of_characters": keep_strict_characters, "tidied": tidy_strictly}
    return {"repaired": repair, "tidied": tidy_white_space}


class Cleaned(NamedTuple):
    """A story after cleaning; empty where nothing was left of it."""

    text: str
    changed_by: tuple[str, ...]
    """The steps that changed it, each once, in order."""


def clean(story: str, steps: dict[str, Step]) -> Cleaned:
    """Take all steps, again and again until none changes anything: a repair may bring to light what another one mends.

    >>> clean("Caf\u00c3\u00a9  au lait", cleaning_steps(strict=False))
    Cleaned(text='Café au lait', changed_by=('repaired', 'tidied'))
    """
    changed_by: dict[str, None] = {}
    before = None
    while story != before:
        before = story
        for name, step in steps.items():
            if (after := step(story)) != story:
                story, changed_by[name] = after, None
    return Cleaned(story, tuple(name for name in steps if name in changed_by))


def digests_of(stories: Sequence[str]) -> np.ndarray:
    """A 64-bit BLAKE2b digest of each story, uint64 (n,)."""
    joined = b"".join(blake2b(story.encode("utf-8"), digest_size=8).digest() for story in stories)
    return np.frombuffer(joined, ">u8").astype(np.uint64)


class SeenDigests:
    """A set of digests that costs 8 bytes a story, and 16 while it grows.

    Two different ones of n stories share a digest with a probability of about n^2 / 2^65: 2.4e-7 for three million
    stories, 3e-4 for a hundred million. The digests lie in sorted arrays, each more than twice as long as the next one,
    so that a digest is looked for in a few of them and moved a few times in all (O'Neil et al., "The log-structured
    merge-tree", 1996).

    >>> seen = SeenDigests()
    >>> seen.add(np.array([7, 5, 7], np.uint64)).tolist()
    [True, True, False]
    >>> seen.find(np.array([5, 6], np.uint64)).tolist()
    [True, False]
    """

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def find(self, digests: np.ndarray) -> np.ndarray:
        """Which of some digests, uint64 (n,), are in the set: bool (n,)."""
        found = np.zeros(len(digests), bool)
        for run in self._runs:
            places = np.minimum(np.searchsorted(run, digests), len(run) - 1)
            found |= run[places] == digests
        return found

    def add(self, digests: np.ndarray) -> np.ndarray:
        """Put some digests, uint64 (n,), into the set; which of them were new, each the first time: bool (n,)."""
        is_new = np.zeros(len(digests), bool)
        is_new[np.unique(digests, return_index=True)[1]] = True
        is_new &= ~self.find(digests)
        if is_new.any():
            self._runs.append(np.sort(digests[is_new]))
        while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
            self._merge()
        return is_new

    def _merge(self) -> None:
        merged = np.concatenate([self._runs.pop(), self._runs.pop()])
        merged.sort()  # in place, so that never more than the two and their sum is held
        self._runs.append(merged)
