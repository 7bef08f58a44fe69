"""Stories to token shards: read and split once, train or read the tokenizer, encode; one atomic step to a data folder.

Nothing of the text is held in memory beyond a few batches: the training stories lie in a text file beside `val.txt`
until they are encoded.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from storyloom import storybook
from storyloom.config import DataConfig, load_preset
from storyloom.data.corpus import Corpus
from storyloom.data.hub import HubDataset
from storyloom.data.manifest import Manifest, SplitManifest, TokenizerManifest, write_manifest
from storyloom.data.parallel import end_unguarded_worker, in_batches, ordered_map
from storyloom.data.progress import Listener, LiveLine, Progress, no_listener, watched
from storyloom.data.shards import Data, ShardWriter, dtype_for
from storyloom.data.sources import Source, Storybook, limited, open_source, text_of
from storyloom.data.textfile import TextFile
from storyloom.data.tokenization import Tokenizer, load_tokenizer, train_tokenizer
from storyloom.errors import ConfigError, DataError
from storyloom.files import building_folder, is_vacant, printable, sha256_of
from storyloom.signals import exit_on_signals

TOKENIZER = "tokenizer.json"


def prepare(
    *sources: str | os.PathLike[str],
    out: str | os.PathLike[str],
    preset: str | DataConfig | None = None,
    val: str | os.PathLike[str] | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
    vocab_size: int | None = None,
    val_fraction: float | None = None,
    column: str | None = None,
    clean: bool | None = None,
    strict_characters: bool | None = None,
    limit_mb: float | None = None,
    workers: int = 1,
    progress: bool | Listener = False,
) -> Data:
    """Turn stories into a data folder of token shards.

    Args:
        sources: any number of these: `storybook`; `tinystories`; `hub:OWNER/NAME[:CONFIG]`, a data set of the Hugging
            Face hub, its split `train`; files `.txt` (stories between `<|endoftext|>` lines; between blank lines where
            there is no such line), `.jsonl` and `.parquet`; folders of such files.
        out: the folder to make; must not exist or be empty. One process at a time makes it.
        preset: take the data settings of this preset, or these; the other arguments override them.
        val: a source of validation stories (of a hub data set its split `validation`). Without it and without
            `val_fraction` a single hub data set brings its own split; else `val_fraction` of the stories are held out,
            chosen by their hash; white space does not count in it.
        tokenizer: `char`, `bpe`, `gpt2`, or the path of a `tokenizer.json`.
        vocab_size: entries of a trained BPE vocabulary.
        val_fraction: share of the stories held out, between 0 and 1.
        column: the field or column that holds the stories, where there are some; `text` by default.
        clean: repair characters and white space, drop empty stories and duplicates; see `storyloom.data.cleaning`.
        strict_characters: when cleaning, keep only ASCII letters, digits, `.,!?;:'"` and white space.
        limit_mb: read only the first so many megabytes (1e6 UTF-8 bytes) of the sources, before any cleaning; the
            manifest names those sources that were not read at all. A validation source is read whole, but for the
            storybook and data sets of the hub, of which as much again is read at most.
        workers: processes that clean and encode; the folder is the same, byte for byte, however many. With 1 this
            process does it, on all cores if the tokenizer can. With more a script must guard its main part by
            `if __name__ == "__main__":`.
        progress: keep a line on standard error up to date, in steps that take above two seconds; or a function that is
            told instead, a few times a second, by a `storyloom.data.Progress`.

    Returns:
        The data folder, opened.

    Raises:
        DataError: a source is missing, empty or cannot be read, `out` is not vacant, or another process makes it.
        ConfigError: a setting is impossible, or contradicts another one.
        TokenizerError: the tokenizer is unknown, or its vocabulary impossible.
        SystemExit: after SIGTERM or SIGHUP, unless the program handles them itself; see `storyloom.signals`.

    Whatever is raised, nothing is left half written. Only to learn the merges of a BPE, words of more than 256
    characters are cut; the manifest counts them.

    A story of the sources that validation has, too, is kept out of training. The sources are read once; memory does not
    grow with them but for 16 bytes a story, while `out` takes room for the training text until it is encoded.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> data = prepare("storybook", out=f"{folder.name}/D", tokenizer="char", limit_mb=0.02)
    >>> sorted(path.name for path in data.path.iterdir())
    ['manifest.json', 'tokenizer.json', 'train-00000.bin', 'val-00000.bin', 'val.txt']
    >>> folder.cleanup()
    """
    end_unguarded_worker()
    given = {
        "tokenizer": None
        if tokenizer is None
        else text_of(tokenizer, "tokenizer", "give `bpe`, or the path of a file"),
        "vocab_size": vocab_size,
        "val_fraction": val_fraction,
        "column": column,
        "clean": clean,
        "strict_characters": strict_characters,
        "limit_mb": limit_mb,
    }
    settings = _base(preset).with_(**{name: value for name, value in given.items() if value is not None})
    _refuse_contradictions(settings.tokenizer, vocab_size, val, val_fraction, workers)
    train_tokenizer(settings.tokenizer, (), settings.vocab_size)  # what is impossible is said before all is read
    folder = _vacant(text_of(out, "out", "give the path of the folder to make"))
    specs = [text_of(source, "a source of stories", "give a path, or `storybook`") for source in sources]
    val_spec = None if val is None else text_of(val, "val", "give a path, or `storybook`")
    stories = _Stories(specs, val_spec, settings, val_fraction)
    with exit_on_signals(), _listening(progress) as listener, _building(folder) as partial:
        write_manifest(partial, _fill(partial, stories, settings, workers, listener))
    return Data(folder)


def _base(preset: object) -> DataConfig:
    if preset is None or isinstance(preset, DataConfig):
        return preset or DataConfig()
    if not isinstance(preset, str):
        raise ConfigError(
            f"preset is {preset!r:.60}, of type {type(preset).__name__}: give a preset's name as text, or a DataConfig"
        )
    return load_preset(preset).data


def _vacant(out: str) -> Path:
    if not out:  # `Path("")` is the working directory
        raise DataError("out is empty: name the data folder to make")
    folder = Path(out)
    if not folder.name or not is_vacant(folder):  # `.` has no name of its own to be put in place under
        raise _exists(folder)
    return folder


def _exists(folder: Path) -> DataError:
    return DataError(f"{folder} exists already: choose another `out`, or remove it first")


@contextmanager
def _building(folder: Path) -> Iterator[Path]:
    """`building_folder`, with our errors where another process is at work in it, or was faster."""
    with ExitStack() as held:
        try:
            partial = held.enter_context(building_folder(folder))
        except BlockingIOError:
            raise DataError(
                f"{folder} is being made by another process: wait for that one, or choose another `out`"
            ) from None
        except FileExistsError:
            raise _exists(folder) from None
        yield partial


@contextmanager
def _listening(progress: bool | Listener) -> Iterator[Listener]:
    if callable(progress):
        yield progress
    elif not isinstance(progress, bool):
        raise ConfigError(f"progress is {progress!r:.60}: give True, False, or a function of one argument")
    elif progress:
        with LiveLine() as line:
            yield line
    else:
        yield no_listener


def _fill(folder: Path, stories: "_Stories", settings: DataConfig, workers: int, listener: Listener) -> Manifest:
    """Write all of a data folder but its manifest, which is returned."""
    corpus = Corpus(folder, settings, workers)
    stories.write_to(corpus, listener)
    words_cut = 0

    def report(read: int, cut: int) -> None:
        nonlocal words_cut
        words_cut = cut
        listener(Progress("learning the tokenizer's vocabulary, stories read", read, corpus.stories["train"]))

    training = TextFile(corpus.path("train"))
    trained = train_tokenizer(settings.tokenizer, training, settings.vocab_size, report)
    trained.save(folder / TOKENIZER)
    sides = {}
    for split, name in (("train", "training"), ("val", "validation")):
        step = Progress(f"encoding the {name} stories", 0, corpus.stories[split])
        sides[split] = _encode(folder, split, corpus.path(split), trained, workers, listener, step)
    corpus.path("train").unlink()
    return Manifest(
        sources=[source.name for source in stories.read],
        not_read=[source.name for source in stories.not_read],
        settings=settings.model_dump(exclude={"rows"}),
        split_by=stories.split_by,
        corpus={**corpus.counts, "long_words_cut": words_cut},
        tokenizer=TokenizerManifest(trained.fingerprint, trained.vocab_size),
        storybook=storybook.VERSION if stories.have_storybook else None,
        **sides,
    )


class _Stories:
    """The sources that the user named, opened, and where the validation stories come from."""

    def __init__(self, specs: list[str], val: str | None, settings: DataConfig, val_fraction: float | None) -> None:
        if not specs:
            raise DataError("no source of stories: name at least one file, or `storybook`")
        for spec in (*specs, val):
            if spec is not None and spec != printable(spec):
                raise DataError(f"the path {printable(spec)} is not UTF-8, and the manifest cannot name it: rename it")
        self._specs, self._settings = specs, settings
        self._sources = [self._open(spec, "train") for spec in specs]
        self.read: list[Source] = []
        self._val, self._val_spec = self._open_val(val, val_fraction)

    @property
    def not_read(self) -> list[Source]:
        """The sources that the limit was reached before."""
        return self._sources[len(self.read) :]

    @property
    def have_storybook(self) -> bool:
        """Whether any side is told by the built-in grammar; a folder may have its name, too."""
        return any(isinstance(source, Storybook) for source in (*self.read, self._val))

    @property
    def split_by(self) -> str:
        """How the sides are told apart, for the manifest."""
        return f"validation from {self._val_spec}" if self._val else "by hash of the story"

    def write_to(self, corpus: Corpus, listener: Listener) -> None:
        """Read all, once. Raises `DataError` where a side gets no story."""
        if self._val:
            may_be_huge = isinstance(self._val, HubDataset)
            told = self._limited(self._val) if may_be_huge else self._val
            corpus.write(watched(told, listener, "reading the validation stories"), val_share=1)
            if not corpus.stories["val"]:
                raise DataError(f"no story in {self._val_spec} for validation: it is empty; name another `val`")
        told = watched(self._limited(self._in_turn()), listener, "reading the stories")
        corpus.write(told, val_share=0 if self._val else self._settings.val_fraction)
        for split, count in corpus.stories.items():
            if not count:
                raise DataError(self._no_story(split))

    def _limited(self, stories: Iterable[str]) -> Iterable[str]:
        return limited(stories, self._settings.limit_mb) if self._settings.limit_mb else stories

    def _in_turn(self) -> Iterator[str]:
        for source in self._sources:
            self.read.append(source)
            yield from source

    def _open(self, spec: str, split: str) -> Source:
        return open_source(spec, column=self._settings.column, limit_mb=self._settings.limit_mb, split=split)

    def _open_val(self, val: str | None, val_fraction: float | None) -> tuple[Source | None, str]:
        """The validation source, where there is one of its own, and what to call it."""
        if val is not None:
            return self._open(val, "validation"), val
        only = self._sources[0] if len(self._sources) == 1 else None
        if isinstance(only, HubDataset) and val_fraction is None:
            return only.sibling("validation"), f"the split `validation` of {only.name}"
        return None, ""

    def _no_story(self, split: str) -> str:
        specs = ", ".join(self._specs)
        if split == "val":
            return (
                f"no story for validation from {specs}: separate the stories by lines holding <|endoftext|>, "
                "raise `val_fraction`, or name a source as `val`"
            )
        why, mend = "all of it went to validation", "lower `val_fraction`"
        if self._val:
            why, mend = "validation has all of its stories, too", "name another `val`"
        return f"no story in {specs} to train on: the text is empty, or {why}; add stories, or {mend}"


class _Encoded(NamedTuple):
    """Some stories as ids, one array each, and what the manifest counts of them."""

    ids: list[np.ndarray]
    bytes: int
    unknown: int


class _Encoder:
    """Encodes stories by a tokenizer that is loaded where it is first used, which may be another process."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return load_tokenizer(self._path)

    def __call__(self, stories: list[str]) -> _Encoded:
        dtype = dtype_for(self._tokenizer.vocab_size)
        return _Encoded(
            [np.array(ids, dtype) for ids in self._tokenizer.encode_all(stories)],
            sum(len(story.encode("utf-8")) for story in stories),
            sum(bool(self._tokenizer.unknown_characters(story)) for story in stories),
        )


def _encode(
    folder: Path, split: str, text: Path, tokenizer: Tokenizer, workers: int, listener: Listener, step: Progress
) -> SplitManifest:
    """Encode the text file of one split into shards; returns its part of the manifest."""
    n_stories = n_bytes = unknown = 0
    encoded = ordered_map(_Encoder(folder / TOKENIZER), in_batches(TextFile(text)), workers)
    with closing(encoded), ShardWriter(folder, split, tokenizer) as shards:
        for batch in encoded:
            for ids in batch.ids:
                shards.add(ids)
            n_stories += len(batch.ids)
            n_bytes += batch.bytes
            unknown += batch.unknown
            listener(replace(step, stories=n_stories))
    return SplitManifest(
        stories=n_stories,
        bytes=n_bytes,
        tokens=shards.tokens,
        stories_with_unknown_characters=unknown,
        shards={name: sha256_of(folder / name) for name in shards.names},
        text_sha256=sha256_of(text) if split == "val" else None,
    )


def _refuse_contradictions(
    tokenizer: str, vocab_size: int | None, val: object, val_fraction: float | None, workers: int
) -> None:
    if vocab_size is not None and tokenizer != "bpe":
        raise ConfigError(
            f"vocab_size = {vocab_size} with tokenizer = {tokenizer}, which brings its own number: leave vocab_size "
            "out, or take tokenizer = bpe"
        )
    if val is not None and val_fraction is not None:
        raise ConfigError(
            f"val_fraction = {float(val_fraction):g} and val = {val} contradict each other: a share is held out if "
            "no validation source is named; give one of them"
        )
    if not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
        raise ConfigError(f"workers = {workers!r:.60}: at least 1 (a whole number), which works in this process")
