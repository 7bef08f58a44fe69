"""Text to token ids and back: one small protocol, and the tokenizers behind it.

Every tokenizer is kept as one `tokenizer.json` in the format of the `tokenizers` library, so that any other tool can
read it. The end-of-text token is an id that no text ever encodes to: a literal `<|endoftext|>` in a story or a prompt
is ordinary text.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

import tokenizers

from storyloom.data.tokenization.bpe import BPETokenizer
from storyloom.data.tokenization.characters import CharTokenizer
from storyloom.data.tokenization.gpt2 import GPT2Tokenizer
from storyloom.data.tokenization.tokenizer import EOT, Report, StreamingDecoder, Tokenizer, silent
from storyloom.errors import TokenizerError, nearest

__all__ = [
    "EOT",
    "TOKENIZERS",
    "BPETokenizer",
    "CharTokenizer",
    "GPT2Tokenizer",
    "Report",
    "StreamingDecoder",
    "Tokenizer",
    "load_tokenizer",
    "train_tokenizer",
]

TOKENIZERS: dict[str, type[Tokenizer]] = {"char": CharTokenizer, "bpe": BPETokenizer, "gpt2": GPT2Tokenizer}
KINDS_OF_FILE: dict[str, type[Tokenizer]] = {"WordLevel": CharTokenizer, "BPE": BPETokenizer}  # GPT-2's is a BPE, too

_PROBE = "The  ﬁ, e\u0301\r\n"  # comes back as another text from normalisers, and where a space is put before it


def train_tokenizer(
    kind: str | os.PathLike[str], stories: Iterable[str], vocab_size: int, report: Report = silent
) -> Tokenizer:
    """Make a tokenizer of a kind (`char`, `bpe`, `gpt2`) for some stories, or read the one in a file.

    Args:
        kind: a key of `TOKENIZERS`, or the path of a `tokenizer.json`.
        stories: read once, in order; not at all for GPT-2's or a file.
        vocab_size: entries of a trained BPE, the end-of-text token included; the others bring their own number.
        report: told how it goes; see `Report`.

    Raises:
        TokenizerError: the kind is unknown (the nearest one is named), the vocabulary impossible or out of reach.
    """
    kind = os.fspath(kind)
    if kind in TOKENIZERS:
        return TOKENIZERS[kind].train(stories, vocab_size, report)
    if kind.endswith(".json") or (kind and Path(kind).exists()):  # `Path("")` is the working directory
        return load_tokenizer(Path(kind))
    raise TokenizerError(f"unknown tokenizer {kind!r}: {nearest(kind, TOKENIZERS)}, or the path of a tokenizer.json")


def load_tokenizer(path: Path) -> Tokenizer:
    """Read a `tokenizer.json`.

    Raises:
        TokenizerError: it is missing, damaged, of another kind, does not give back the very text that it encodes, or
            takes a literal end-of-text for the token.
    """
    model_type, backend = _read(path)
    if model_type not in KINDS_OF_FILE:
        raise TokenizerError(f"{path} holds a {model_type} tokenizer: only BPE and WordLevel (characters) can be used")
    try:
        tokenizer = KINDS_OF_FILE[model_type](backend)
    except (KeyError, IndexError):
        raise TokenizerError(f"{path} holds a {model_type} of another alphabet, or with ids left out") from None
    try:
        given_back = tokenizer.decode(backend.encode(_PROBE, add_special_tokens=False).ids)
    except Exception as error:  # the library's own, for a vocabulary without its unknown token
        raise TokenizerError(f"cannot read the tokenizer {path}: {error}") from None
    if given_back != _PROBE and not tokenizer.unknown_characters(_PROBE):
        raise TokenizerError(
            f"{path} does not give back the text that it encodes (a normaliser, a space put before it, or bytes left "
            "out): take a tokenizer that does, or `bpe`"
        )
    if tokenizer.eot in backend.encode(EOT, add_special_tokens=False).ids:
        raise TokenizerError(
            f'{path} takes a literal {EOT} in a story for the end of it: set "special": true for that token in its '
            '"added_tokens"'
        )
    return tokenizer


def _read(path: Path) -> tuple[str, tokenizers.Tokenizer]:
    """The type of the model in a file, and the tokenizer as its library reads it."""
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text)["model"]["type"], tokenizers.Tokenizer.from_str(text)
    except FileNotFoundError:
        raise TokenizerError(f"no tokenizer at {path}: `storyloom prepare` makes one") from None
    except Exception as error:  # the library raises bare Exception for a file it cannot read
        raise TokenizerError(f"cannot read the tokenizer {path}: {error}") from None
