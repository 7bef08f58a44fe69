"""GPT-2's own byte-pair encoding, as a full tokenizer of the `tokenizers` library.

tiktoken brings the vocabulary, from its cache or from the network, and is asked once: what is saved is a whole
`tokenizer.json`, which is read back like that of any trained BPE.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from math import inf
from typing import Self

from tokenizers import models

from storyloom.data.tokenization.bpe import BPETokenizer, byte_level, printable_bytes
from storyloom.data.tokenization.tokenizer import EOT, Report, silent
from storyloom.errors import TokenizerError


class GPT2Tokenizer(BPETokenizer):
    """GPT-2's 50,257 ids: "Once upon a time" is [7454, 2402, 257, 640], and the end-of-text token 50256.

    Radford et al., "Language models are unsupervised multitask learners", 2019.
    """

    @classmethod
    def train(cls, stories: Iterable[str], vocab_size: int, report: Report = silent) -> Self:
        """Fetch the vocabulary; nothing is learned, so neither the stories nor `vocab_size` are asked for.

        Raises:
            TokenizerError: the vocabulary is not in tiktoken's cache and cannot be downloaded.
        """
        spelled = _fetch_vocabulary()
        rank_of = {token: rank for rank, token in enumerate(spelled)}
        merges = [halves(token, rank_of) for token in spelled if len(token) > 1]
        character_of = printable_bytes()

        def printable(token: bytes) -> str:
            return "".join(character_of[byte] for byte in token)

        vocabulary = {printable(token): rank for token, rank in rank_of.items()} | {EOT: len(spelled)}
        backend = byte_level(models.BPE(vocabulary, [(printable(left), printable(right)) for left, right in merges]))
        backend.add_special_tokens([EOT])
        return cls(backend)


def halves(token: bytes, rank_of: Mapping[bytes, int]) -> tuple[bytes, bytes]:
    """The two tokens whose merge made this one, from the ranks alone: encode its bytes until two parts are left.

    Args:
        token: two bytes or more, with a rank of its own.
        rank_of: when each token was made; a merge of lower rank goes first.

    >>> halves(b"that", {b"at": 256, b"th": 257, b"hat": 258, b"that": 259})
    (b'th', b'at')
    """
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        ranks = [rank_of.get(left + right, inf) for left, right in pairwise(parts)]
        first = ranks.index(min(ranks))
        parts[first : first + 2] = [parts[first] + parts[first + 1]]
    left, right = parts
    return left, right


def _fetch_vocabulary() -> list[bytes]:
    """The bytes of ids 0 to 50,255. A damaged file in the cache is deleted by tiktoken and downloaded anew."""
    import tiktoken

    try:
        encoding = tiktoken.get_encoding("gpt2")
    except (OSError, ValueError) as error:  # no network, or no place to keep it; or what came is not what should
        raise TokenizerError(
            f"tiktoken has no sound copy of GPT-2's vocabulary and could not fetch one ({type(error).__name__}): set "
            "TIKTOKEN_CACHE_DIR to a cache filled on a machine with a network, give a tokenizer.json made there, "
            "or take the `tokenizer` bpe"
        ) from None
    return [encoding.decode_single_token_bytes(i) for i in range(encoding.eot_token)]
