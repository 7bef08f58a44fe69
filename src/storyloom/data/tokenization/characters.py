"""One token a character: the simplest tokenizer, and the one that shows most clearly what a model learns."""

from collections.abc import Iterable, Sequence
from typing import Self

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers

from storyloom.data.tokenization.tokenizer import EOT, Report, Tokenizer, silent

UNKNOWN = "<|unknown|>"


class CharTokenizer(Tokenizer):
    """The characters of some stories, sorted; any other character becomes one unknown token, which is not lossless.

    >>> tokenizer = CharTokenizer.train(["abba"], vocab_size=0)
    >>> tokenizer.encode("ab"), tokenizer.decode([2, 3]), tokenizer.unknown_characters("abc")
    ([2, 3], 'ab', ['c'])
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self._ids = backend.get_vocab()
        self._unknown = self._ids[backend.model.unk_token]  # pyright: ignore[reportAttributeAccessIssue]
        super().__init__(backend)

    @classmethod
    def train(cls, stories: Iterable[str], vocab_size: int, report: Report = silent) -> Self:
        """Collect the characters of some stories; `vocab_size` is not asked for, the text decides."""
        characters = sorted(set().union(*map(set, stories)))
        vocabulary = {token: i for i, token in enumerate([EOT, UNKNOWN, *characters])}
        backend = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
        backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
        backend.decoder = decoders.Fuse()
        backend.add_special_tokens([EOT, UNKNOWN])
        return cls(backend)

    def _spell(self) -> list[bytes]:
        spelled = [b""] * self.vocab_size
        for token, i in self._ids.items():
            if len(token) == 1:  # the others are never encoded to
                spelled[i] = token.encode("utf-8")
        return spelled

    def unknown_characters(self, text: str) -> list[str]:
        """The characters of a text that stood in none of the training stories, sorted."""
        return sorted(set(text) - self._ids.keys())

    def _encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids that the library gives, which spends ten times as long on finding the characters."""
        return [[self._ids.get(character, self._unknown) for character in text] for text in texts]
