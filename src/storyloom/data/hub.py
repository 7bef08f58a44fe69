"""Data sets of the Hugging Face hub, streamed: nothing is kept on the disk. Needs the extra `hub`.

The libraries that fetch them retry for long, and tell of it on standard error; here they are asked once whether the hub
can be reached, and what they raise becomes one line.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from storyloom.data.tables import check_column, import_hub_library, story_in
from storyloom.errors import DataError

PREFIX = "hub:"
SHORT_NAMES = {"tinystories": "hub:roneneldan/TinyStories"}  # Eldan and Li, arXiv 2305.07759
SECONDS_TO_ANSWER = 5.0
LONGEST_REASON = 100  # characters

_SPEC = re.compile(r"hub:(?P<name>[^/:\s]+/[^/:\s]+)(:(?P<config>\S+))?")


def is_hub_spec(spec: str) -> bool:
    """Whether a source names a data set of the hub.

    >>> is_hub_spec("tinystories"), is_hub_spec("hub:me/stories:long"), is_hub_spec("stories.txt")
    (True, True, False)
    """
    return spec in SHORT_NAMES or spec.startswith(PREFIX)


class HubDataset:
    """The stories in one column of a data set of the hub, streamed; `open_hub` makes it.

    Args:
        name: as the user wrote it.
        splits: the data set's splits, as `datasets` streams them.
        split: which of them.
        column: the column.

    Raises:
        DataError: there is no such split or column.
    """

    def __init__(self, name: str, splits: Mapping[str, Any], split: str, column: str) -> None:
        if split not in splits:
            raise DataError(
                f"{name} has no split {split!r}, only {', '.join(splits)}: download its files and name those you want"
            )
        self.name, self.split = name, split
        self._splits, self._column, self._rows = splits, column, splits[split]
        if self._rows.features is not None:
            check_column(column, self._rows.features, name)
            self._rows = self._rows.select_columns([column])

    def sibling(self, split: str) -> "HubDataset | None":
        """Another split of the same data set, if it has it."""
        return HubDataset(self.name, self._splits, split, self._column) if split in self._splits else None

    def __iter__(self) -> Iterator[str]:
        with _silence():
            rows, number = iter(self._rows), 0
            while (row := self._next(rows)) is not None:
                number += 1
                place = f"{self.name}, {self.split}, row {number}"
                check_column(self._column, row, place)
                if story := story_in(row[self._column], self._column, place):
                    yield story

    def _next(self, rows: Iterator[Any]) -> Any:
        with _one_line(self.name):
            return next(rows, None)


def open_hub(spec: str, column: str, split: str) -> HubDataset:
    """One split of a data set of the hub.

    Args:
        spec: `hub:OWNER/NAME` or `hub:OWNER/NAME:CONFIG`, or a key of `SHORT_NAMES`. A folder OWNER/NAME that lies in
            the working directory, laid out as on the hub, is read in its place.
        column: the column that holds the stories.
        split: `train` or `validation`.

    Raises:
        DataError: the hub cannot be reached; there is no such data set, configuration, split or column.
    """
    parsed = _SPEC.fullmatch(SHORT_NAMES.get(spec, spec))
    if not parsed:
        raise DataError(f"{spec!r} names no data set: write hub:OWNER/NAME, or hub:OWNER/NAME:CONFIG")
    datasets = import_hub_library("datasets", spec)
    if not Path(parsed["name"]).is_dir():
        _ask_the_hub(parsed["name"], spec)
    with _silence(), _one_line(spec):
        splits = datasets.load_dataset(parsed["name"], parsed["config"], streaming=True)
    return HubDataset(spec, splits, split, column)


def _ask_the_hub(name: str, spec: str) -> None:
    """Raise `DataError` where the hub cannot be reached, or has no such data set."""
    hub = import_hub_library("huggingface_hub", spec)
    errors = import_hub_library("huggingface_hub.errors", spec)
    try:
        with _silence():
            hub.HfApi().dataset_info(name, timeout=SECONDS_TO_ANSWER)
    except errors.RepositoryNotFoundError:
        raise DataError(f"{spec}: the hub has no data set {name!r}, or it is private: check OWNER/NAME") from None
    except errors.HfHubHTTPError as error:
        raise DataError(f"{spec}: the hub refuses: {_reason(error)}; try again later") from None
    except Exception as error:  # of whichever HTTP library it uses
        raise DataError(
            f"{spec}: the hub cannot be reached ({_reason(error)}); download its files on another machine and name "
            "them, or take `storybook`"
        ) from None


@contextmanager
def _one_line(spec: str) -> Iterator[None]:
    """What the libraries raise, of many kinds and in many lines, as one `DataError`."""
    try:
        yield
    except Exception as error:
        raise DataError(f"cannot read {spec}: {_reason(error)}; or download its files and name them") from None


def _reason(error: Exception) -> str:
    reason = re.sub(r"^\[Errno -?\d+\] ", "", " ".join(str(error).split())) or type(error).__name__
    return reason if len(reason) <= LONGEST_REASON else reason[: LONGEST_REASON - 3] + "..."


@contextmanager
def _silence() -> Iterator[None]:
    """No word of the libraries on standard error: no retries, no progress bars."""
    bars = import_hub_library("datasets.utils", "the hub")
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub", "fsspec")]
    levels = [logger.level for logger in loggers]
    had_bars = not bars.are_progress_bars_disabled()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    bars.disable_progress_bars()
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if had_bars:
            bars.enable_progress_bars()
