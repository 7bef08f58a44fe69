"""What a data folder says of itself: `manifest.json`, validated when it is read. Knows no shards and no tokenizer.

The file holds a format number, a checksum of its own content, and the fields of `Manifest`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from storyloom.config import DataConfig
from storyloom.config.formats import FORMAT, content_checksum, settings_of
from storyloom.errors import ConfigError, DataError
from storyloom.files import MANIFEST, write_json

AS_WRITTEN = ConfigDict(strict=True, extra="forbid")


@dataclass(frozen=True, config=AS_WRITTEN)
class SplitManifest:
    """One side of the split."""

    stories: int = Field(ge=0)
    bytes: int = Field(ge=0)
    """UTF-8 bytes of the stories, without separators."""
    tokens: int = Field(ge=1)
    """All ids of the shards, end-of-text tokens counted in."""
    stories_with_unknown_characters: int = Field(ge=0)
    """Stories with characters that the tokenizer does not know."""
    shards: dict[str, str] = Field(min_length=1)
    """Each shard's name and SHA-256, in order."""
    text_sha256: str | None = None
    """Of `val.txt`; None of the training side, whose text is not kept."""


@dataclass(frozen=True, config=AS_WRITTEN)
class TokenizerManifest:
    """The tokenizer that the shards were made with."""

    fingerprint: str
    vocab_size: int = Field(ge=2)


@dataclass(frozen=True, config=AS_WRITTEN)
class Manifest:
    """What a data folder was made from, and what is in it."""

    sources: list[str]
    """The names of the sources that were read."""
    not_read: list[str]
    """Those that a limit was reached before."""
    settings: dict[str, Any]
    """Of `DataConfig`, but for `rows`, which training chooses."""
    split_by: str
    """How the sides are told apart."""
    corpus: dict[str, int]
    """What was read, changed and dropped; see `storyloom.data.corpus`."""
    tokenizer: TokenizerManifest
    train: SplitManifest
    val: SplitManifest
    storybook: str | None = None
    """The version of the grammar, if it told any story."""

    def side(self, split: str) -> SplitManifest:
        """`train` or `val`, by its name."""
        return {"train": self.train, "val": self.val}[split]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`, the last file of a data folder."""
    content = asdict(manifest)
    write_json(folder / MANIFEST, {"format": FORMAT, "sha256": content_checksum(content), **content})


def read_manifest(folder: Path) -> Manifest:
    """Read `manifest.json` and validate it.

    Raises:
        DataError: there is none, or it is not as it was written, or of another format.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{folder} is no data folder (no {MANIFEST}): make one with `storyloom prepare`") from None
    except OSError as error:
        raise _damaged(path, str(error.strerror)) from None
    except (ValueError, RecursionError) as error:  # no JSON, or no UTF-8
        raise _damaged(path, f"it is no JSON ({error})") from None
    if not isinstance(content, dict):
        raise _damaged(path, "it is no JSON object")
    found, checksum = content.pop("format", None), content.pop("sha256", None)
    if type(found) is int and found > FORMAT:
        raise DataError(f"{path} has format {found}, this version of storyloom reads {FORMAT}: prepare the data again")
    if type(found) is not int or found < 1 or content_checksum(content) != checksum:
        raise _damaged(path, "it is not as it was written")
    return _validated(path, content, found)


def _validated(path: Path, content: Mapping[str, Any], written: int) -> Manifest:
    try:
        manifest = TypeAdapter(Manifest).validate_json(json.dumps(content))
        settings = settings_of(DataConfig, {**manifest.settings, "rows": "packed"}, written, "settings")
        manifest = replace(manifest, settings=DataConfig(**settings).model_dump(exclude={"rows"}))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise _damaged(path, f"{place}: {first['msg'][0].lower()}{first['msg'][1:]}") from None
    except ConfigError as error:
        raise _damaged(path, str(error)) from None
    return manifest


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"{path} cannot be read as a data manifest: {' '.join(why.split())}; prepare the data again")
