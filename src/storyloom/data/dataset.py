"""Token shards to batches: which ids stand in which row, in which order. Knows no model and no torch.

Legend: B rows in a batch, T tokens in a row (the block), N tokens in the split.

Each row is a range of the token array; its inputs are the range without its last token, its targets the range without
its first. Shapes never change: short rows are filled up, and the targets of the filling are `IGNORED`.
"""

from typing import Protocol

import numpy as np

from storyloom.data.shards import Data, Tokens
from storyloom.errors import DataError

IGNORED = -100  # a target that is not scored; PyTorch's own default


class Rows(Protocol):
    """One epoch's rows as ranges of the token array."""

    def begin_epoch(self, rng: np.random.Generator) -> None:
        """Lay out the rows of a new epoch."""
        ...

    def __len__(self) -> int: ...

    def bounds(self, row: int) -> tuple[int, int]:
        """The first token of a row and the end of its range; at most T + 1 tokens."""
        ...


class PackedRows:
    """Windows over the joined stories: every token is a target exactly once an epoch.

    The windows' common shift is drawn anew each epoch, so that stories are not always cut at the same places.
    """

    def __init__(self, tokens: Tokens, eot: int, block_size: int) -> None:
        self._targets, self._block, self._shift = len(tokens) - 1, block_size, 0
        if self._targets < block_size:
            raise DataError(
                f"the training text has {len(tokens)} tokens, too small for one row of block_size = {block_size} "
                f"(needs {block_size + 1}): add text, or set model.block_size={max(2, len(tokens) // 2)}"
            )

    def begin_epoch(self, rng: np.random.Generator) -> None:
        """Draw the windows' shift."""
        self._shift = int(rng.integers(self._block))

    def __len__(self) -> int:
        return -(-(self._targets + self._shift) // self._block)

    def bounds(self, row: int) -> tuple[int, int]:
        """Row k scores targets 1 + kT - shift up to 1 + (k + 1)T - shift, clipped to the text."""
        start = row * self._block - self._shift
        return max(0, start), min(self._targets, start + self._block) + 1


class PaddedRows:
    """One story a row, from the end-of-text before it to the one behind it, cut to the block."""

    def __init__(self, tokens: Tokens, eot: int, block_size: int) -> None:
        self._ends, self._block = tokens.positions_of(eot), block_size

    def begin_epoch(self, rng: np.random.Generator) -> None:
        """The rows are the same every epoch."""

    def __len__(self) -> int:
        return len(self._ends) - 1

    def bounds(self, row: int) -> tuple[int, int]:
        """A story with both of its end-of-text tokens, or its first T + 1 tokens."""
        start, end = int(self._ends[row]), int(self._ends[row + 1])
        return start, min(end, start + self._block) + 1


class AlignedRows(PaddedRows):
    """Windows that begin at a story's start, one for each story, and run on through the stories behind it.

    A token has then seen its story from the beginning, as in evaluation. The price: windows overlap, and where the
    block cuts stories, their beginnings are seen more often than their ends.
    """

    def bounds(self, row: int) -> tuple[int, int]:
        """T + 1 tokens from the end-of-text before a story, or what is left of the text."""
        start, last = int(self._ends[row]), int(self._ends[-1])
        return start, min(last, start + self._block) + 1


ROWS = {"packed": PackedRows, "padded": PaddedRows, "aligned": AlignedRows}


class Batches:
    """An endless run of batches: all rows once an epoch, in an order that depends on seed and epoch alone.

    Args:
        data: a data folder; its training split is read.
        rows: a key of `ROWS`.
        batch_size: rows in a batch, B. A batch may hold the end of one epoch and the start of the next.
        block_size: tokens in a row, T.
        seed: of the order.

    `place` is (epoch, row); setting it continues exactly there.
    """

    def __init__(self, data: Data, *, rows: str, batch_size: int, block_size: int, seed: int) -> None:
        self._tokens = data.tokens("train")
        self._eot = data.tokenizer.eot
        self._rows: Rows = ROWS[rows](self._tokens, self._eot, block_size)
        self._shape = (batch_size, block_size)
        self._seed = seed
        self._begin(0)

    @property
    def rows_per_epoch(self) -> int:
        """Rows in this epoch; with `packed` epochs may differ by one."""
        return len(self._rows)

    @property
    def place(self) -> tuple[int, int]:
        """The epoch, counted from 0, and the next row in its order."""
        return self._epoch, self._next

    @place.setter
    def place(self, place: tuple[int, int]) -> None:
        self._begin(place[0])
        self._next = place[1]

    @property
    def epochs(self) -> float:
        """Passes over the data so far."""
        return self._epoch + self._next / len(self._rows)

    def next(self) -> tuple[np.ndarray, np.ndarray]:
        """The next inputs and targets, int64 (B, T) each."""
        inputs = np.full(self._shape, self._eot, np.int64)
        targets = np.full(self._shape, IGNORED, np.int64)
        for b in range(self._shape[0]):
            ids = self._tokens.read(*self._rows.bounds(self._next_row()))
            inputs[b, : len(ids) - 1] = ids[:-1]
            targets[b, : len(ids) - 1] = ids[1:]
        return inputs, targets

    def _next_row(self) -> int:
        if self._next == len(self._rows):
            self._begin(self._epoch + 1)
        self._next += 1
        return int(self._order[self._next - 1])

    def _begin(self, epoch: int) -> None:
        rng = np.random.Generator(np.random.PCG64([self._seed, epoch]))
        self._rows.begin_epoch(rng)
        self._order = rng.permutation(len(self._rows))
        self._epoch, self._next = epoch, 0
