"""What a run has written down, read once for a page: its rows, its data's manifest, and the figures that follow.

Knows no chart and no page. Losses are nats/token.
"""

import math
import os
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from storyloom.config import Config
from storyloom.data import Data
from storyloom.data.sources import Storybook
from storyloom.errors import RunError, StoryloomError
from storyloom.evaluation import why_not_comparable
from storyloom.files import printable
from storyloom.reporting.curves import smooth, window_of
from storyloom.runs import Run
from storyloom.runs.layout import CHECKPOINTS, METRICS, SAMPLES
from storyloom.runs.rows import EvalRow, FinalRow, PlanRow, SampleRow, ScoredRow, StartRow, TrainRow, read_rows

STORYBOOK, TINYSTORIES, OWN = Storybook.name, "tinystories", "own"
VALIDATION_FROM = "validation from "  # before a source's name, where a manifest says how it was split


@dataclass(frozen=True)
class Measured:
    """What a checkpoint's validation loss is, and how it was measured."""

    row: ScoredRow
    """As `evaluate` gives it."""
    step: int
    """Of the weights that were measured."""
    is_all: bool
    """Whether all validation stories were scored, or the few that are evaluated on the way."""


class Record:
    """The rows of a run.

    Args:
        run: the run, or its folder.

    Raises:
        RunError: the run is missing, has not made a step yet, or has other rows than its checkpoint vouches for.
    """

    def __init__(self, run: Run | str | os.PathLike[str]) -> None:
        self.run = run if isinstance(run, Run) else Run(run)
        self.run.verify_logs()
        rows = read_rows(self.run.path / METRICS)
        self.starts = [row for row in rows if isinstance(row, StartRow)]
        self.plans = [row for row in rows if isinstance(row, PlanRow)]
        self.train = [row for row in rows if isinstance(row, TrainRow)]
        finals = [row for row in rows if isinstance(row, FinalRow)]
        if not (self.starts and self.train):
            raise RunError(f"{self.run.path} has no metrics to draw yet: let it train for a step")
        self.final: FinalRow | None = finals[-1] if finals else None
        self.evaluations = [row for row in rows if isinstance(row, EvalRow)]
        told = read_rows(self.run.path / SAMPLES, SampleRow)
        # A killed run may have told more than it wrote of its updates; so may one whose metrics were cut.
        self.samples = [row for row in told if row.step in self._index]
        self._columns: dict[str, np.ndarray] = {}

    @property
    def name(self) -> str:
        """The run folder's, as it can be printed."""
        return printable(self.run.path.resolve().name)

    @property
    def checkpoint(self) -> str | None:
        """The checkpoint to take where none is named; None before the first one."""
        return next((name for name in CHECKPOINTS if self.run.has_checkpoint(name)), None)

    @property
    def config(self) -> Config:
        """The run's settings, fully resolved."""
        return self.run.config

    @cached_property
    def data(self) -> Data | None:
        """The data it was trained on, where that still lies there, by its manifest the same."""
        try:
            data = Data(self.run.data_folder)
        except StoryloomError:
            return None
        return data if data.fingerprint == self.run.origin.get("data_fingerprint") else None

    def column(self, name: str) -> np.ndarray:
        """One value of every update, float64 (n,); nan where there is none."""
        if name not in self._columns:
            values = [getattr(row, name) for row in self.train]
            self._columns[name] = np.array(values, np.float64)  # None becomes nan
        return self._columns[name]

    def smoothed(self, name: str = "loss") -> np.ndarray:
        """The running mean of a column, (n,)."""
        return smooth(self.column(name), window_of(len(self.train)))

    def tokens_at(self, step: int) -> int:
        """Training tokens that the weights of `step` have seen."""
        return self.train[self.index_of(step)].tokens

    def index_of(self, step: int) -> int:
        """Where in `train` the update of a step stands."""
        return self._index[step]

    def training_loss_at(self, step: int) -> float:
        """The mean training loss of the window of updates that ends with `step`, nats/token."""
        end = self.index_of(step) + 1
        return float(self.column("loss")[max(0, end - window_of(len(self.train))) : end].mean())

    @cached_property
    def _index(self) -> dict[int, int]:
        return {row.step: index for index, row in enumerate(self.train)}

    @property
    def last(self) -> TrainRow:
        """The row of the last update."""
        return self.train[-1]

    @property
    def max_steps(self) -> int:
        """Updates that were planned."""
        if self.config.train.minutes is None and self.config.train.max_steps is not None:
            return self.config.train.max_steps
        return self.plans[-1].step + self.plans[-1].updates if self.plans else self.last.step

    @property
    def minutes(self) -> float:
        """The time of all updates, without evaluations."""
        return self.last.seconds / 60

    @property
    def wall_minutes(self) -> float | None:
        """Wall-clock time with evaluations, the pauses of an interrupted run excluded; None before its end."""
        return self.final.minutes if self.final else None

    @property
    def times_read(self) -> float | None:
        """How often each token of its text was trained on, on average; None where that is not known any more."""
        if self.data is not None:
            return self.last.tokens / self.data.manifest.train.tokens
        return self.last.epoch if self.config.data.rows == "packed" else None

    @property
    def has_repeated(self) -> bool:
        """Whether it read some of its text more than once."""
        return max(self.last.epoch, self.times_read or 0) > 1

    @property
    def tokens_per_second(self) -> float:
        """Training tokens over the time of all updates."""
        return self.last.tokens / max(self.last.seconds, 1e-9)

    @property
    def uniform_loss(self) -> float:
        """What a guess that knows nothing costs: ln(vocabulary), nats/token."""
        assert self.config.model.vocab_size is not None, "a run has its data's"
        return math.log(self.config.model.vocab_size)

    @property
    def is_scored(self) -> bool:
        """Whether any validation story was."""
        return bool(self.final or self.evaluations)

    @property
    def bytes_per_token(self) -> float:
        """UTF-8 bytes of the validation text for each scored token; of the training text before any is scored."""
        scored = self.final or (self.evaluations[-1] if self.evaluations else None)
        if scored:
            return scored.bytes / scored.tokens
        return self.last.loss / (math.log(2) * self.last.bits_per_byte)

    def bits(self, nats: float) -> float:
        """nats/token as bits/byte: nats / (ln 2 x bytes per token)."""
        return nats / (math.log(2) * self.bytes_per_token)

    @property
    def limits(self) -> list[float]:
        """The exact limit in nats/token where the text is the storybook's and was scored to the end; else nothing."""
        if self.final is None or self.final.limit_bits_per_byte is None:
            return []
        return [self.final.limit_bits_per_byte * math.log(2) * self.bytes_per_token]

    @property
    def val_source(self) -> str | None:
        """The source of the validation stories, where they have one of their own and the data is still there."""
        split = self.data.manifest.split_by if self.data else ""
        return split.removeprefix(VALIDATION_FROM) if split.startswith(VALIDATION_FROM) else None

    @cached_property
    def text_kind(self) -> str:
        """What it was measured on: the storybook, TinyStories by its name, or a text of the user's own."""
        if self.limits:
            return STORYBOOK
        if self.data is None:
            return self._kind_of(self.run.origin.get("source", ""))
        names = self.data.manifest.sources if self.val_source is None else [self.val_source]
        kinds = {self._kind_of(name) for name in names}
        return kinds.pop() if len(kinds) == 1 else OWN

    def _kind_of(self, source: str) -> str:
        is_told = self.data is None or self.data.manifest.storybook is not None  # a folder may have its name, too
        if source == STORYBOOK and is_told:
            return STORYBOOK
        return TINYSTORIES if TINYSTORIES in source.lower() else OWN

    @property
    def why_not_comparable(self) -> str | None:
        """Why its bits/byte may not be compared with other tokenizers', as `evaluate` has it; None where they may."""
        if self.final is not None:
            return self.final.why_not_comparable
        if self.data is None:
            return "the data is gone, and with it what is known of its text"
        altered = self.data.manifest.corpus.get("validation_altered", 0)
        return why_not_comparable(self.data.manifest.val.stories_with_unknown_characters, altered)

    @property
    def text_sha256(self) -> str | None:
        """Of the validation text; None where it was not scored to the end and the data is gone."""
        if self.final is not None:
            return self.final.text_sha256
        return self.data.manifest.val.text_sha256 if self.data else None

    @property
    def best(self) -> EvalRow | None:
        """The evaluation on the way with the lowest loss, the one that `best` keeps."""
        kept = [row for row in self.evaluations if row.is_best]
        return kept[-1] if kept else None

    def measured(self, checkpoint: str = "best") -> Measured | None:
        """The validation loss of a checkpoint: of all stories where these weights were measured so, else on the way."""
        if self.best is None:
            return None
        row = self.best if checkpoint == "best" else self.evaluations[-1]
        if self.final is not None and row.step == self.best.step:
            return Measured(self.final, row.step, is_all=True)
        return Measured(row, row.step, is_all=False)
