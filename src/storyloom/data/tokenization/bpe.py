"""Byte-pair encoding over bytes, with GPT-2's splitting pattern: it can spell any text exactly.

Sennrich et al., "Neural machine translation of rare words with subword units", 2016 (arXiv 1508.07909); over bytes as
in Radford et al., "Language models are unsupervised multitask learners", 2019. No normaliser and no space put before
the text, so that decoding gives back what was encoded, byte for byte.
"""

from collections.abc import Iterable
from typing import Self

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from storyloom.data.tokenization.background import interruptible
from storyloom.data.tokenization.long_words import WithoutLongWords
from storyloom.data.tokenization.tokenizer import EOT, Report, Tokenizer, silent
from storyloom.errors import TokenizerError


class BPETokenizer(Tokenizer):
    """Byte-level BPE.

    >>> tokenizer = BPETokenizer.train(["the cat sat on the mat"] * 9, vocab_size=265)
    >>> tokenizer.decode(tokenizer.encode("the cät"))
    'the cät'
    """

    @classmethod
    def train(cls, stories: Iterable[str], vocab_size: int, report: Report = silent) -> Self:
        """Learn the merges from some stories, with long words cut.

        Args:
            stories: read once.
            vocab_size: counts 256 bytes, the end-of-text token and the merges.
            report: told again and again how many texts were read, and how many long words were cut.
        """
        smallest = 256 + 1
        if vocab_size < smallest:
            raise TokenizerError(
                f"vocab_size = {vocab_size} is too small for a byte-level BPE: at least {smallest}, 256 bytes and {EOT}"
            )
        backend = byte_level(models.BPE())
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[EOT],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        texts = WithoutLongWords(stories)
        interruptible(
            lambda each: backend.train_from_iterator(each, trainer), texts, lambda: report(texts.read, texts.cut)
        )
        report(texts.read, texts.cut)
        return cls(backend)

    def _spell(self) -> list[bytes]:
        byte_of = {character: byte for byte, character in printable_bytes().items()}
        spelled = [b""] * self.vocab_size
        for token, i in self._backend.get_vocab(with_added_tokens=False).items():
            if i != self.eot:
                spelled[i] = bytes(byte_of[character] for character in token)
        for i, added in self._backend.get_added_tokens_decoder().items():
            if not added.special:  # found in texts as it stands, whatever the merges
                spelled[i] = added.content.encode("utf-8")
        return spelled


def byte_level(model: models.BPE) -> tokenizers.Tokenizer:
    """A BPE over the bytes of the words that GPT-2's pattern finds."""
    backend = tokenizers.Tokenizer(model)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend.decoder = decoders.ByteLevel()
    return backend


def printable_bytes() -> dict[int, str]:
    """GPT-2's table of each byte as a printable character, since BPE files hold text.

    >>> printable_bytes()[ord("a")], printable_bytes()[ord(" ")]
    ('a', 'Ġ')
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}
