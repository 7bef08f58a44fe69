"""Stories to token shards: split, train or read the tokenizer, encode, and write a data folder in one atomic step.

Every source is read twice, once for the tokenizer and once for the shards, and never held in memory.
"""

import hashlib
import os
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

from storyloom.config import DataConfig, load_preset
from storyloom.data import storybook
from storyloom.data.shards import FORMAT, Data, ShardWriter
from storyloom.data.sources import Source, Storybook, join_stories, limited, open_file, open_source
from storyloom.data.tokenization import Tokenizer, train_tokenizer
from storyloom.errors import DataError
from storyloom.files import MANIFEST, building_folder, is_vacant, sha256_of, write_json

ENCODED_AT_ONCE = 1000  # stories; large enough to keep every core busy, small enough to stay in cache


def prepare(
    *sources: str | os.PathLike[str],
    out: str | os.PathLike[str],
    preset: str | None = None,
    val: str | os.PathLike[str] | None = None,
    tokenizer: str | None = None,
    vocab_size: int | None = None,
    val_fraction: float | None = None,
    limit_mb: float | None = None,
) -> Data:
    """Turn stories into a data folder of token shards.

    Args:
        sources: `storybook`, or paths of `.txt` files with stories between `<|endoftext|>` lines.
        out: the folder to make; must not exist or be empty.
        preset: take the data settings of this preset; the other arguments override them.
        val: a file of validation stories; without it `val_fraction` of the stories are held out, chosen by their hash.
        tokenizer: `char`, `bpe`, or the path of a `tokenizer.json`.
        vocab_size: entries of a trained BPE vocabulary.
        val_fraction: share of the stories held out, between 0 and 1.
        limit_mb: read only the first so many megabytes (1e6 UTF-8 bytes).

    Returns:
        The data folder, opened.

    Raises:
        DataError: a source is missing, empty or not UTF-8, or `out` is not vacant. Nothing is left half written.
        ConfigError: a setting is impossible.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> data = prepare("storybook", out=f"{folder.name}/D", tokenizer="char", limit_mb=0.02)
    >>> sorted(path.name for path in data.path.iterdir())
    ['manifest.json', 'tokenizer.json', 'train-00000.bin', 'val-00000.bin', 'val.txt']
    >>> folder.cleanup()
    """
    given = {"tokenizer": tokenizer, "vocab_size": vocab_size, "val_fraction": val_fraction, "limit_mb": limit_mb}
    base = load_preset(preset).data if preset else DataConfig()
    settings = base.with_(**{name: value for name, value in given.items() if value is not None})
    folder = Path(out)
    if not is_vacant(folder):
        raise DataError(f"{folder} exists already: choose another --out, or remove it first")
    stories = _Stories([open_source(os.fspath(source), settings.limit_mb) for source in sources], settings, val)
    with building_folder(folder) as partial:
        trained = train_tokenizer(settings.tokenizer, stories.split("train"), settings.vocab_size)
        trained.save(partial / "tokenizer.json")
        manifest = {
            "format": FORMAT,
            "sources": stories.names,
            "settings": settings.model_dump(exclude={"rows"}),
            "split": f"validation from {os.fspath(val)}" if val else "by hash of the story",
            "tokenizer": {"fingerprint": trained.fingerprint, "vocab_size": trained.vocab_size},
            "train": _write_split(partial, "train", stories, trained),
            "val": _write_split(partial, "val", stories, trained),
        }
        if Storybook.name in stories.names:
            manifest["storybook"] = storybook.VERSION
        write_json(partial / MANIFEST, manifest)
    return Data(folder)


class _Stories:
    """The stories of some sources, one split at a time."""

    def __init__(self, sources: list[Source], settings: DataConfig, val: str | os.PathLike[str] | None) -> None:
        if not sources:
            raise DataError("no source of stories: name at least one file, or `storybook`")
        self.names = [source.name for source in sources]
        self._sources, self._settings = sources, settings
        self._val = open_file(Path(val)) if val else None
        self.val_name = self._val.name if self._val else None

    def split(self, split: str) -> Iterator[str]:
        """The stories of `train` or `val`, in order."""
        if split == "val" and self._val:
            return iter(self._val)
        if self._val:
            return self._all()
        return (story for story in self._all() if (split == "val") == self._is_held_out(story))

    def _all(self) -> Iterator[str]:
        joined = chain.from_iterable(self._sources)
        return limited(joined, self._settings.limit_mb) if self._settings.limit_mb else joined

    def _is_held_out(self, story: str) -> bool:
        digest = hashlib.blake2b(story.encode("utf-8"), digest_size=8).digest()
        return int.from_bytes(digest) < self._settings.val_fraction * 2**64


def _write_split(folder: Path, split: str, stories: _Stories, tokenizer: Tokenizer) -> dict[str, object]:
    """Encode one split into shards (and `val.txt`); returns its part of the manifest."""
    remaining = stories.split(split)
    n_stories = n_bytes = unknown = 0
    text_path = folder / "val.txt"
    with ShardWriter(folder, split, tokenizer) as shards, text_path.open("ab") as text:
        while batch := list(islice(remaining, ENCODED_AT_ONCE)):
            for story, ids in zip(batch, tokenizer.encode_all(batch), strict=True):
                shards.add(ids)
                n_bytes += len(story.encode("utf-8"))
                unknown += bool(tokenizer.unknown_characters(story))
            n_stories += len(batch)
            if split == "val":
                text.write(join_stories(batch).encode("utf-8"))
    if not n_stories:
        raise DataError(_no_story(split, stories))
    part: dict[str, object] = {"stories": n_stories, "bytes": n_bytes, "tokens": shards.tokens}
    part["stories_with_unknown_characters"] = unknown
    if split == "val":
        part["text_sha256"] = sha256_of(text_path)
    part["shards"] = {name: sha256_of(folder / name) for name in shards.names}
    return part


def _no_story(split: str, stories: _Stories) -> str:
    names = ", ".join(stories.names)
    if split == "train":
        return (
            f"no story in {names} to train on: the text is empty, or all of it went to validation; "
            "add stories, or lower --val-fraction"
        )
    if stories.val_name:
        return f"no story in {stories.val_name}, named by --val: the text is empty; name another file"
    return (
        f"no story for validation from {names}: separate the stories by lines holding <|endoftext|>, "
        "raise --val-fraction, or name a file with --val"
    )
