"""Batches: which ids stand in which row, in which order, and that a place in the data is exact.

The tokens of the stand-in split are their own positions, so that every id tells where it came from.
"""

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from storyloom.data import IGNORED, Batches, prepare
from storyloom.data.dataset import ROWS, PackedRows
from storyloom.errors import DataError

EOT = 10**6


class Positions:
    """N tokens, each its own position; ends of text stand where they are asked for."""

    def __init__(self, n: int, ends: list[int] | None = None) -> None:
        self._ids = np.arange(n)
        self._ids[ends or []] = EOT

    def __len__(self) -> int:
        return len(self._ids)

    def read(self, start: int, stop: int) -> np.ndarray:
        assert 0 <= start < stop <= len(self._ids)
        return self._ids[start:stop]

    def positions_of(self, token: int) -> np.ndarray:
        return np.flatnonzero(self._ids == token)


def batches(tokens: Positions, **options) -> Batches:
    data = SimpleNamespace(tokens=lambda split: {"train": tokens}[split], tokenizer=SimpleNamespace(eot=EOT))
    given = {"rows": "packed", "batch_size": 1, "block_size": 7, "seed": 3} | options
    return Batches(data, **given)  # pyright: ignore[reportArgumentType]


def epoch_of(source: Batches) -> list[tuple[np.ndarray, np.ndarray]]:
    """The rows of the epoch that begins; `source` has batches of one row."""
    epoch = source.place[0] if source.place[1] == 0 else source.place[0] + 1
    rows = [source.next()]
    while source.place != (epoch, source.rows_per_epoch):
        rows.append(source.next())
    return [(inputs[0], targets[0]) for inputs, targets in rows]


@pytest.mark.parametrize("n", [8, 9, 13, 14, 15, 16, 101])
@pytest.mark.parametrize("block", [2, 3, 7])
def test_stream_scores_every_token_once_an_epoch(n, block):
    source = batches(Positions(n), block_size=block)
    starts = set()
    for _ in range(7):
        rows = epoch_of(source)
        scored = np.concatenate([targets[targets != IGNORED] for _, targets in rows])
        assert sorted(scored.tolist()) == list(range(1, n))  # the first token is context only
        for inputs, targets in rows:
            length = int((targets != IGNORED).sum())
            assert length > 0
            assert (targets[:length] == inputs[:length] + 1).all()
            assert (np.diff(inputs[:length]) == 1).all()
            assert (targets[length:] == IGNORED).all()
            assert (inputs[length:] == EOT).all()
        starts.add(tuple(sorted(int(inputs[0]) for inputs, _ in rows)))
    assert len(starts) > 1  # the windows are cut elsewhere in another epoch


def test_all_shifts_come_and_each_scores_every_token_once():
    seen = set()
    for seed in range(97):
        rows = PackedRows(Positions(31), EOT, 5)  # pyright: ignore[reportArgumentType]
        rows.begin_epoch(np.random.default_rng(seed))
        bounds = [rows.bounds(k) for k in range(len(rows))]
        assert [start for start, _ in bounds[1:]] == [stop - 1 for _, stop in bounds[:-1]]  # they touch
        assert (bounds[0][0], bounds[-1][1]) == (0, 31)
        assert all(2 <= stop - start <= 6 for start, stop in bounds)
        seen.add(bounds[0][1] - 1)
    assert seen == {1, 2, 3, 4, 5}  # targets in the first window


def test_shapes_and_types_never_change():
    source = batches(Positions(101), batch_size=3)
    for _ in range(29):
        inputs, targets = source.next()
        assert inputs.shape == targets.shape == (3, 7)
        assert inputs.dtype == targets.dtype == np.int64


def rows_of(source: Batches, count: int) -> list[list[int]]:
    rows: list[list[int]] = []
    while len(rows) < count:
        inputs, targets = source.next()
        rows += np.concatenate([inputs, targets], axis=1).tolist()
    return rows[:count]


@pytest.mark.parametrize("rows", ROWS)
def test_the_order_depends_on_seed_and_epoch_alone(rows):
    def source(seed: int, batch_size: int) -> Batches:
        tokens = Positions(101, [0, 11, 24, 41, 53, 60, 71, 82, 100])
        return batches(tokens, rows=rows, seed=seed, batch_size=batch_size)

    expected = rows_of(source(3, 1), 61)
    for batch_size in (2, 5, 13):  # a batch of 13 spans more than an epoch of the padded rows
        assert rows_of(source(3, batch_size), 61) == expected
    assert rows_of(source(4, 1), 61) != expected


@pytest.mark.parametrize("rows", ROWS)
def test_every_epoch_has_an_order_of_its_own(rows):
    tokens = Positions(211, [0, *range(10, 211, 15)])
    source = batches(tokens, rows=rows)
    epochs = [[int(inputs[0]) if rows == "packed" else int(targets[0]) for inputs, targets in epoch_of(source)]
              for _ in range(5)]  # fmt: skip
    assert len({tuple(np.argsort(epoch)) for epoch in epochs}) == 5
    if rows != "packed":
        assert all(sorted(epoch) == [1, *range(11, 200, 15)] for epoch in epochs)


def test_what_was_read_before_does_not_matter():
    source, fresh = batches(Positions(101)), batches(Positions(101))
    for _ in range(5):
        source.next()
    source.place = fresh.place = (2, 4)
    assert rows_of(source, 41) == rows_of(fresh, 41)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("batch_size", [1, 3, 5])
def test_a_place_is_restored_exactly_wherever_it_was(rows, batch_size):
    def source() -> Batches:
        return batches(Positions(61, [0, 11, 24, 41, 60]), rows=rows, batch_size=batch_size)

    original = source()
    places, drawn = [], []
    while original.place[0] < 3:
        places.append(original.place)
        drawn.append(original.next())
    assert {epoch for epoch, _ in places} == {0, 1, 2}
    for start, place in enumerate(places):
        restored = source()
        restored.place = place
        assert restored.place == place
        for inputs, targets in drawn[start:]:
            again = restored.next()
            assert (again[0] == inputs).all()
            assert (again[1] == targets).all()


def test_a_batch_crosses_from_one_epoch_to_the_next():
    tokens = Positions(41, [0, 10, 20, 30, 40])  # four stories
    source = batches(tokens, rows="padded", batch_size=3)
    first, second, third = source.next()[1][:, 0], source.next()[1][:, 0], source.next()[1][:, 0]
    stories = [*first, *second, *third]
    assert sorted(stories[:4]) == sorted(stories[4:8]) == [1, 11, 21, 31]
    assert source.place == (2, 1)
    assert source.epochs == 2.25


def test_padded_rows_by_hand():
    #          eot 1 2 3 eot 5 eot 7 8 9 10 11 12 13 14 eot
    tokens = Positions(16, [0, 4, 6, 15])
    source = batches(tokens, rows="padded", batch_size=3, block_size=5)
    inputs, targets = source.next()
    order = np.argsort(targets[:, 0])
    fill = IGNORED
    assert inputs[order].tolist() == [[EOT, 1, 2, 3, EOT], [EOT, 5, EOT, EOT, EOT], [EOT, 7, 8, 9, 10]]
    assert targets[order].tolist() == [[1, 2, 3, EOT, fill], [5, EOT, fill, fill, fill], [7, 8, 9, 10, 11]]


@pytest.mark.parametrize(("block", "length"), [(7, 7), (8, 8), (9, 8)])
def test_a_story_that_just_fits_is_not_cut(block, length):
    source = batches(Positions(9, [0, 8]), rows="padded", block_size=block)  # seven tokens between two ends of text
    inputs, targets = source.next()
    assert inputs[0, :length].tolist() == [EOT, *range(1, length)]
    assert targets[0, :length].tolist() == [*range(1, 8), EOT][:length]
    assert (targets[0, length:] == IGNORED).all()


def test_aligned_rows_by_hand():
    """The second row ends exactly where the text does; the third is filled up."""
    #          eot 1 2 3 eot 5 eot 7 8 9 10 11 12 13 14 eot
    tokens = Positions(16, [0, 4, 6, 15])
    source = batches(tokens, rows="aligned", batch_size=3, block_size=11)
    inputs, targets = source.next()
    order = np.argsort(targets[:, 0])
    assert inputs[order].tolist() == [
        [EOT, 1, 2, 3, EOT, 5, EOT, 7, 8, 9, 10],
        [EOT, 5, EOT, 7, 8, 9, 10, 11, 12, 13, 14],
        [EOT, 7, 8, 9, 10, 11, 12, 13, 14, EOT, EOT],
    ]
    assert targets[order].tolist() == [
        [1, 2, 3, EOT, 5, EOT, 7, 8, 9, 10, 11],
        [5, EOT, 7, 8, 9, 10, 11, 12, 13, 14, EOT],
        [7, 8, 9, 10, 11, 12, 13, 14, EOT, IGNORED, IGNORED],
    ]


@pytest.mark.parametrize("block", [2, 7, 13, 97, 211])
def test_aligned_rows_score_a_token_once_for_each_story_that_begins_in_the_block_before_it(block):
    ends = [0, 5, 7, 18, 41, 43, 60, 96, 100]
    source = batches(Positions(101, ends), rows="aligned", block_size=block)
    for _ in range(2):
        rows = epoch_of(source)
        assert sorted(int(targets[0]) for _, targets in rows) == [start + 1 for start in ends[:-1]]
        scored = np.concatenate([targets for _, targets in rows]).tolist()
        for place in set(range(101)) - set(ends):
            assert scored.count(place) == sum(place - block <= start < place for start in ends)


def test_text_too_small_for_one_row_is_refused_with_the_numbers(tmp_path):
    with pytest.raises(DataError, match=r"has 7 tokens.*block_size = 7 \(needs 8\).*model\.block_size=3"):
        batches(Positions(7))
    batches(Positions(8)).next()
    (tmp_path / "a.txt").write_text("abc\n<|endoftext|>\nde")
    (tmp_path / "v.txt").write_text("a")
    data = prepare(tmp_path / "a.txt", val=tmp_path / "v.txt", out=tmp_path / "D", tokenizer="char")
    with pytest.raises(DataError, match="has 8 tokens"):
        Batches(data, rows="packed", batch_size=2, block_size=11, seed=3)


def test_batches_of_real_data_are_its_stories(story_data):
    source = Batches(story_data, rows="padded", batch_size=2, block_size=499, seed=5)
    inputs, targets = source.next()
    eot = story_data.tokenizer.eot
    train = story_data.tokens("train")
    ends = train.positions_of(eot)
    stories = [train.read(int(a), int(b) + 1).tolist() for a, b in pairwise(ends)]
    for row, target in zip(inputs, targets, strict=True):
        assert row[0] == eot
        valid = target[target != IGNORED].tolist()
        assert [eot, *valid] in [story[:500] for story in stories]
