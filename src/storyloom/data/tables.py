"""Stories in one column of a table: JSON lines and Parquet files.

Whatever the table, a null is no story, any other value that is no text an error, and no more than a few rows are in
memory at a time.
"""

import json
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from storyloom.data.textfile import BYTE_ORDER_MARK, normalise
from storyloom.errors import DataError, nearest

ROWS_AT_ONCE = 256


def story_in(value: object, column: str, place: str) -> str:
    """The normalised story in a field; empty for a null.

    Args:
        value: what stands in the field.
        column: the field's name.
        place: where it stands, such as `a.jsonl, line 7`.

    Raises:
        DataError: the value is no text, or has half of a surrogate pair in it, which is no character.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(
            f"{place}: {column!r} holds {_excerpt(value)}, which is no text: mend it, or have another "
            "prepared, as `column`"
        )
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place}: {column!r} holds {value[error.start]!r}, half of a surrogate pair and no character: "
            "mend that story"
        ) from None
    return normalise(value)


def check_column(column: str, known: Iterable[str], place: str) -> None:
    """Raise `DataError` where a table lacks the column; it names those there are."""
    known = list(known)
    if column not in known:
        raise DataError(f"{place} has no column {column!r}: prepare with another `column`; {nearest(column, known)}")


def import_hub_library(name: str, reader_of: str) -> Any:
    """A library of the extra `hub`, imported when it is first needed. Raises `DataError` where it is not installed."""
    try:
        return import_module(name)
    except ImportError:
        raise DataError(f"{name} is needed to read {reader_of}: in storyloom's folder, pip install '.[hub]'") from None


class JsonLines:
    """Stories in a `.jsonl` file: one JSON object a line, the story in one of its fields.

    Args:
        path: the file; blank lines in it are skipped.
        column: the field.
    """

    def __init__(self, path: Path, column: str) -> None:
        self.name = path.name
        self._path, self._column = path, column

    def __iter__(self) -> Iterator[str]:
        with self._path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if raw.strip() and (story := self._story(raw, f"{self._path}, line {number}")):
                    yield story

    def _story(self, raw: bytes, place: str) -> str:
        try:
            record = json.loads(raw.decode("utf-8").replace(BYTE_ORDER_MARK, ""))
        except UnicodeDecodeError as error:
            raise DataError(f"{place} is not UTF-8: byte 0x{raw[error.start]:02x}; convert the file") from None
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{place} is no JSON ({getattr(error, 'msg', error)}): a .jsonl file holds one whole object a line"
            ) from None
        if not isinstance(record, dict):
            raise DataError(f"{place} holds {_excerpt(record)}: a .jsonl file holds one JSON object a line")
        check_column(self._column, record, place)
        return story_in(record[self._column], self._column, place)


class Parquet:
    """Stories in one column of text of a `.parquet` file; needs the extra `hub`.

    Args:
        path: the file.
        column: the column.

    Raises:
        DataError: it is no Parquet file, or lacks the column, or the column holds no text.
    """

    def __init__(self, path: Path, column: str) -> None:
        self.name = path.name
        self._path, self._column = path, column
        self._arrow = import_hub_library("pyarrow", f"{path}")
        self._parquet = import_hub_library("pyarrow.parquet", f"{path}")
        with self._path.open("rb") as file:
            self._check(self._open(file).schema_arrow)

    def __iter__(self) -> Iterator[str]:
        with self._path.open("rb") as file:
            batches = self._open(file).iter_batches(ROWS_AT_ONCE, columns=[self._column], use_threads=False)
            while (batch := self._guarded(next, batches, None)) is not None:
                for value in self._guarded(batch.column(0).to_pylist):
                    if story := normalise(value or ""):  # a column of text holds nothing else but nulls
                        yield story

    def _open(self, file: Any) -> Any:
        return self._guarded(self._parquet.ParquetFile, file)

    def _guarded(self, read: Any, *arguments: Any) -> Any:
        """What the library reads, its errors in one line. It raises `OSError` for damaged pages, too."""
        try:
            return read(*arguments)
        except (self._arrow.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(
                f"cannot read {self._path} as a Parquet file: {reason}; download or write it again"
            ) from None

    def _check(self, schema: Any) -> None:
        check_column(self._column, schema.names, str(self._path))
        kind = schema.field(schema.names.index(self._column)).type  # by its place, since names may be repeated
        if self._arrow.types.is_dictionary(kind):
            kind = kind.value_type
        if not any(is_kind(kind) for is_kind in self._text_kinds()):
            raise DataError(
                f"{self._path}: column {self._column!r} holds {kind}, no text; prepare with another `column`"
            )

    def _text_kinds(self) -> list[Any]:
        types = self._arrow.types
        return [types.is_string, types.is_large_string, types.is_string_view, types.is_null]


def _excerpt(value: object, longest: int = 40) -> str:
    shown = json.dumps(value, ensure_ascii=True, default=str)
    return shown if len(shown) <= longest else shown[: longest - 3] + "..."
