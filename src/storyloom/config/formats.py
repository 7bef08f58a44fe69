"""Formats that last: settings as files of any format hold them, and a checksum of a file's own content.

A file of format n holds every setting of format n: none is filled in by a default, which may change. A setting that
came later has, for such a file, the value that held before there was one. In the schema it says so itself:

    eps: float = Field(default=1e-6, gt=0, json_schema_extra={"since": 2, "before": 1e-5})
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from storyloom.config.schema import Settings
from storyloom.errors import ConfigError

FORMAT = 1  # of a run's config.toml and a model folder's config.json; raised when settings are added or change meaning
NONE = "none"  # TOML has no null


def content_checksum(content: Mapping[str, Any]) -> str:
    """The SHA-256 of what a file says, in hex, whatever its layout and comments.

    >>> content_checksum({"a": 1, "b": {"c": None}}) == content_checksum({"b": {"c": None}, "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def check_format(found: Any, place: str) -> int:
    """The format that a file names; raises `ConfigError` if it is none, or newer than this version's."""
    if isinstance(found, bool) or not isinstance(found, int) or not 1 <= found <= FORMAT:
        raise ConfigError(
            f"{place} has format {found!r}, and this version of storyloom reads formats up to {FORMAT}: take the "
            "version that made it, or put it back if it was changed"
        )
    return found


def check_content(content: Mapping[str, Any], checksum: Any, place: str) -> None:
    """Raise `ConfigError` unless a file says what it said when it was written."""
    if content_checksum(content) != checksum:
        raise ConfigError(
            f"{place} is not as it was written (another checksum): put it back; a configuration of your own has no "
            "checksum"
        )


def settings_of(kind: type[Settings], values: Any, written: int, place: str) -> dict[str, Any]:
    """All settings of a group as a file of some format holds them, to be validated.

    Args:
        kind: the group.
        values: what stands in the file, with "none" for None.
        written: the format of the file.
        place: the file and the group, for the message.

    Raises:
        ConfigError: a setting of that format is missing, or the group is no table.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{place} = {values!r:.60} is no table: put the file back")
    read = {name: None if value == NONE else value for name, value in values.items()}
    for name, field in kind.model_fields.items():
        extra: Any = field.json_schema_extra or {}
        if extra.get("since", 1) > written:
            read.setdefault(name, extra["before"])
        elif name not in read:
            raise ConfigError(f"{place} lacks {name}, which every file of format {written} has: put the file back")
    return read
