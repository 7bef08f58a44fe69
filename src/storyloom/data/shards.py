"""A data folder on disk: shards of token ids, the tokenizer, the validation text, and a manifest that vouches for them.

    manifest.json   tokenizer.json   train-00000.bin ...   val-00000.bin ...   val.txt

A shard is a flat array of little-endian uint16 (uint32 above 65,536 ids). The shards of a split read one after the
other are `eot story eot story ... story eot`.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from storyloom.data.manifest import read_manifest
from storyloom.data.sources import read_stories, text_of
from storyloom.data.tokenization import Tokenizer, load_tokenizer
from storyloom.errors import DataError
from storyloom.files import MANIFEST, sha256_of

SHARD_TOKENS = 2**27


def dtype_for(vocab_size: int) -> np.dtype[Any]:
    """The smallest type that holds every id.

    >>> dtype_for(50_257).itemsize, dtype_for(65_537).itemsize
    (2, 4)
    """
    return np.dtype("<u2" if vocab_size <= 2**16 else "<u4")


class ShardWriter:
    """Appends stories to the shards of one split. Use as `with ShardWriter(...) as shards: shards.add(ids)`."""

    def __init__(self, folder: Path, split: str, tokenizer: Tokenizer, shard_tokens: int = SHARD_TOKENS) -> None:
        self._folder, self._split, self._limit = folder, split, shard_tokens
        self._eot = np.array([tokenizer.eot], dtype_for(tokenizer.vocab_size))
        self._file = None
        self._in_shard = 0
        self.tokens = 0
        self.names: list[str] = []

    def __enter__(self) -> "ShardWriter":
        self._write(self._eot)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def add(self, ids: list[int] | np.ndarray) -> None:
        """Append one story and the end-of-text behind it."""
        self._write(np.append(np.asarray(ids, self._eot.dtype), self._eot))

    def _write(self, ids: np.ndarray) -> None:
        if self._file is None or self._in_shard >= self._limit:
            self.__exit__()
            self.names.append(f"{self._split}-{len(self.names):05d}.bin")
            self._file = (self._folder / self.names[-1]).open("wb")
            self._in_shard = 0
        self._file.write(ids.tobytes())
        self._in_shard += len(ids)
        self.tokens += len(ids)


class Tokens:
    """Memory-mapped shards read as one long array of ids."""

    def __init__(self, paths: Iterable[Path], dtype: np.dtype[Any]) -> None:
        self._parts = [np.memmap(path, dtype, mode="r") for path in paths]
        self._starts = np.cumsum([0, *map(len, self._parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def read(self, start: int, stop: int) -> np.ndarray:
        """The ids from `start` up to `stop`, as int64 (stop - start,); a range may cross shards."""
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        pieces = []
        while start < stop:
            offset = int(self._starts[first])
            piece = self._parts[first][start - offset : stop - offset]
            pieces.append(piece)
            start += len(piece)
            first += 1
        return np.concatenate(pieces).astype(np.int64) if pieces else np.empty(0, np.int64)

    def positions_of(self, token: int) -> np.ndarray:
        """Where a token stands, as int64 (n,), in order."""
        found = [np.flatnonzero(part == token) + start for part, start in zip(self._parts, self._starts, strict=False)]
        return np.concatenate(found)


@dataclass(frozen=True)
class EncodedStory:
    """A story to be evaluated: its text, and its ids without end-of-text tokens, int64 (n,)."""

    text: str
    ids: np.ndarray


class Data:
    """A prepared data folder, opened.

    Args:
        path: the folder that `prepare` wrote.

    Raises:
        DataError: it is missing, no data folder, of another format, or a file in it is missing or altered.

    Shards and the validation text are verified when they are first read, and not again by this object.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        name = text_of(path, "the data folder", "name a folder that `storyloom prepare` made")
        if not name:  # `Path("")` is the working directory
            raise DataError("the data folder's name is empty: name a folder that `storyloom prepare` made")
        self.path = Path(name)
        self._verified: set[str] = set()
        self.manifest = read_manifest(self.path)
        self.tokenizer = load_tokenizer(self.path / "tokenizer.json")
        if self.tokenizer.fingerprint != self.manifest.tokenizer.fingerprint:
            raise DataError(f"{self.path}/tokenizer.json is not the one the shards were made with: prepare again")

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of the manifest, which holds the checksums of all else."""
        return sha256_of(self.path / MANIFEST)

    def tokens(self, split: str) -> Tokens:
        """All ids of a split, memory-mapped, once their checksums are verified."""
        shards = self.manifest.side(split).shards
        for name, checksum in shards.items():
            self._verify(name, checksum)
        return Tokens([self.path / name for name in shards], dtype_for(self.tokenizer.vocab_size))

    def val_stories(self, count: int | None = None) -> list[EncodedStory]:
        """Validation stories with their ids: all, or `count` of them spread evenly over the text.

        A corpus is seldom shuffled: the first stories of a file may be easier or harder than the rest.
        """
        self._verify("val.txt", self.manifest.val.text_sha256 or "")
        texts = read_stories(self.path / "val.txt")
        tokens = self.tokens("val")
        ends = tokens.positions_of(self.tokenizer.eot)
        if len(ends) != len(texts) + 1:
            raise DataError(f"{self.path}: val.txt has {len(texts)} stories, its shards {len(ends) - 1}: prepare again")
        kept = range(len(texts))
        if count is not None and count < len(texts):
            kept = [i * len(texts) // count for i in range(count)]
        return [EncodedStory(texts[i], tokens.read(int(ends[i]) + 1, int(ends[i + 1]))) for i in kept]

    def _verify(self, name: str, checksum: str) -> None:
        path = self.path / name
        if not path.is_file():
            raise DataError(f"{path} is missing: prepare the data again")
        if name in self._verified:
            return
        if sha256_of(path) != checksum:
            raise DataError(f"{path} differs from its checksum in {MANIFEST} (cut short or altered): prepare it again")
        self._verified.add(name)
