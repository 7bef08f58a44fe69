"""Words too long to learn merges from, cut for training alone.

Learning merges takes time that grows with the square of a word's length: one word of three megabytes, as a damaged file
or a picture in base64 has it, takes half an hour. What is learned from it is of no use anyway. Encoding has no such
trouble and never cuts, so that the ids of a text do not depend on any of this.
"""

import re
from collections.abc import Iterable, Iterator

LONGEST_WORD = 256  # characters; German and Finnish compounds stay below 100

# Letters and digits; other signs; white space. What GPT-2's pattern finds is never longer than such a run.
_LONG = re.compile("|".join(rf"{kind}{{{LONGEST_WORD + 1},}}" for kind in (r"[^\W_]", r"(?:[^\w\s]|_)", r"\s")))


class WithoutLongWords:
    r"""Stories, with every word of more than `LONGEST_WORD` characters cut into pieces of that length.

    A word here is a run of letters and digits, of other signs, or of white space. A story that has long ones comes as
    several texts; any other one as it is.

    Args:
        stories: read once.

    Attributes:
        read: how many stories were read so far.
        cut: how many words were cut in them.

    >>> texts = WithoutLongWords(["a bee", "one " + "x" * 300 + "!"])
    >>> [len(text) for text in texts], texts.cut
    ([5, 4, 256, 45], 1)
    """

    def __init__(self, stories: Iterable[str]) -> None:
        self._stories = stories
        self.read = self.cut = 0

    def __iter__(self) -> Iterator[str]:
        for story in self._stories:
            self.read += 1
            start = 0
            for found in _LONG.finditer(story):
                self.cut += 1
                for place in range(found.start(), found.end(), LONGEST_WORD):
                    if place > start:
                        yield story[start:place]
                        start = place
            yield story[start:]
