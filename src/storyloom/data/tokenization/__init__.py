"""Text to token ids and back: one small protocol, and the tokenizers behind it.

Every tokenizer is kept as one `tokenizer.json` in the format of the `tokenizers` library, so that any other tool can
read it. The end-of-text token is an id that no text ever encodes to: a literal `<|endoftext|>` in a story or a prompt
is ordinary text.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import tokenizers

from storyloom.data.tokenization.bpe import BPETokenizer
from storyloom.data.tokenization.characters import CharTokenizer
from storyloom.data.tokenization.gpt2 import GPT2Tokenizer
from storyloom.data.tokenization.tokenizer import EOT, StreamingDecoder, Tokenizer
from storyloom.errors import TokenizerError, nearest

__all__ = [
    "EOT",
    "TOKENIZERS",
    "BPETokenizer",
    "CharTokenizer",
    "GPT2Tokenizer",
    "StreamingDecoder",
    "Tokenizer",
    "load_tokenizer",
    "train_tokenizer",
]

TOKENIZERS: dict[str, type[Tokenizer]] = {"char": CharTokenizer, "bpe": BPETokenizer, "gpt2": GPT2Tokenizer}
_KINDS_OF_FILE: tuple[type[Tokenizer], ...] = (CharTokenizer, BPETokenizer)  # a saved GPT-2 is a BPE like any other


def train_tokenizer(kind: str, stories: Iterable[str], vocab_size: int) -> Tokenizer:
    """Make a tokenizer of a kind (`char`, `bpe`, `gpt2`) for some stories, or read the one in a file.

    Args:
        kind: a key of `TOKENIZERS`, or the path of a `tokenizer.json`.
        stories: read once, in order; not at all for GPT-2's or a file.
        vocab_size: entries of a trained BPE, the end-of-text token included; the others bring their own number.

    Raises:
        TokenizerError: the kind is unknown (the nearest one is named), the vocabulary impossible or out of reach.
    """
    if kind in TOKENIZERS:
        return TOKENIZERS[kind].train(stories, vocab_size)
    if kind.endswith(".json") or Path(kind).exists():
        return load_tokenizer(Path(kind))
    raise TokenizerError(f"unknown tokenizer {kind!r}: {nearest(kind, TOKENIZERS)}, or the path of a tokenizer.json")


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a `tokenizer.json`. Raises `TokenizerError` when it is missing or not one of ours."""
    try:
        text = path.read_text(encoding="utf-8")
        model_type = json.loads(text)["model"]["type"]
        backend = tokenizers.Tokenizer.from_str(text)
    except FileNotFoundError:
        raise TokenizerError(f"no tokenizer at {path}: `storyloom prepare` makes one") from None
    except Exception as error:  # the library raises bare Exception for a file it cannot read
        raise TokenizerError(f"cannot read the tokenizer {path}: {error}") from None
    for kind in _KINDS_OF_FILE:
        if kind.model_type == model_type:
            try:
                return kind(backend)
            except (KeyError, IndexError):
                raise TokenizerError(f"{path} holds a {model_type} of another alphabet, or with ids left out") from None
    raise TokenizerError(f"{path} holds a {model_type} tokenizer: only BPE and WordLevel (characters) can be used")
