"""The protocol that every tokenizer follows, on top of the `tokenizers` library. Knows nothing of stories or shards."""

import codecs
import json
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

import tokenizers

from storyloom.data.tokenization.fingerprint import fingerprint_of
from storyloom.errors import TokenizerError
from storyloom.files import write_text

EOT = "<|endoftext|>"
Report = Callable[[int, int], object]  # stories read so far; words cut in them, as they are too long to learn from


def silent(stories: int, words_cut: int) -> None:
    """Tell nobody how it goes."""


class Tokenizer:
    """Text to token ids and back. Subclasses say how to train one and which bytes each token stands for."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        backend.encode_special_tokens = True  # the literal end-of-text in a text is ordinary text; not kept in the JSON
        backend.no_truncation()  # a story is encoded whole, whatever the file was made for
        backend.no_padding()
        self._backend = backend
        eot = backend.token_to_id(EOT)
        if eot is None:
            raise TokenizerError(f"the tokenizer has no {EOT} token: train one with `storyloom prepare`")
        self.eot: int = eot
        self.token_bytes: list[bytes] = self._spell()  # the UTF-8 bytes of each id; none for special tokens

    def __reduce__(self) -> tuple[type[Self], tuple[tokenizers.Tokenizer]]:
        return type(self), (self._backend,)  # pickled and copied by way of `__init__`, which sets what no JSON keeps

    @classmethod
    def train(cls, stories: Iterable[str], vocab_size: int, report: Report = silent) -> Self:
        """Make a tokenizer for some stories; may take long, and reports how it goes."""
        raise NotImplementedError

    def _spell(self) -> list[bytes]:
        """The bytes of every id."""
        raise NotImplementedError

    @property
    def vocab_size(self) -> int:
        """The number of ids, V."""
        return self._backend.get_vocab_size()

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of everything that decides the ids: equal exactly if two tokenizers are. See `fingerprint_of`."""
        return fingerprint_of(json.loads(self._backend.to_str()))

    def encode(self, text: str) -> list[int]:
        """The ids of a text. Raises `TokenizerError` for characters that no UTF-8 text can hold (lone surrogates)."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of many texts, encoded side by side."""
        for text in texts:
            _check_unicode(text)
        return self._encode_all(texts)

    def _encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in self._backend.encode_batch_fast(texts, add_special_tokens=False)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids; bytes that form no whole character become the replacement character."""
        return b"".join(self.token_bytes[i] for i in ids).decode("utf-8", errors="replace")

    def unknown_characters(self, text: str) -> list[str]:
        """The characters of a text that the tokenizer cannot spell, sorted."""
        return []

    def save(self, path: Path) -> None:
        """Write the tokenizer as one `tokenizer.json`."""
        write_text(path, self._backend.to_str(pretty=True))


class StreamingDecoder:
    """Turns ids into text as they come, holding back the bytes of a character that is not whole yet.

    Args:
        tokenizer: whose ids come.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._token_bytes = tokenizer.token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def feed(self, token: int) -> str:
        """The text that this id completes; often a word, now and then nothing."""
        return self._decoder.decode(self._token_bytes[token])

    def finish(self) -> str:
        """What is left when no more ids come."""
        return self._decoder.decode(b"", final=True)


def _check_unicode(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TokenizerError(
            f"character {text[error.start]!r} at position {error.start} is half of a surrogate pair, not a character"
        ) from None
