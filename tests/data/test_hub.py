"""Data sets of the hub: the real loading code over a folder laid out like one, and every way of not reaching it."""

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import huggingface_hub.errors
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storyloom.data import prepare
from storyloom.data.hub import open_hub
from storyloom.errors import DataError

TRAIN = [f"The {n}th bee." for n in range(41)]
VALIDATION = ["A bee is late.", "No bee is."]
Layout = Callable[..., None]


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """Makes a data set `me/NAME` in the working directory, of some splits."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")

    def make(name: str = "stories", column: str = "text", **splits: list) -> None:
        folder = tmp_path / "me" / name / "data"
        folder.mkdir(parents=True)
        for split, values in splits.items():
            table = pa.table({"id": list(range(len(values))), column: values})
            pq.write_table(table, folder / f"{split}-00000-of-00001.parquet", row_group_size=17)

    return make


def test_splits_are_streamed_as_often_as_asked(layout):
    layout(train=[*TRAIN, None, " \r\n", " a\r\n<|endoftext|>\nb "], validation=VALIDATION)
    source = open_hub("hub:me/stories", "text", "train")
    assert list(source) == list(source) == [*TRAIN, "a\n<|endoftext|>\nb"]
    assert list(open_hub("hub:me/stories", "text", "validation")) == VALIDATION
    sibling = source.sibling("validation")
    assert sibling
    assert list(sibling) == VALIDATION
    assert source.sibling("test") is None
    assert source.name == "hub:me/stories"


def test_its_own_validation_split_is_taken_unless_told_otherwise(layout, tmp_path):
    layout(train=TRAIN, validation=VALIDATION)
    layout("whole", train=TRAIN)
    own = prepare("hub:me/stories", out=tmp_path / "A", vocab_size=257)
    assert (own.manifest.train.stories, own.manifest.val.stories) == (len(TRAIN), len(VALIDATION))
    assert own.manifest.split_by == "validation from the split `validation` of hub:me/stories"
    assert own.manifest.sources == ["hub:me/stories"]
    by_hash = prepare("hub:me/stories", out=tmp_path / "B", vocab_size=257, val_fraction=0.3)
    whole = prepare("hub:me/whole", out=tmp_path / "C", vocab_size=257, val_fraction=0.3)
    two = prepare("hub:me/whole", "hub:me/stories", out=tmp_path / "D", vocab_size=257)
    for data in (by_hash, whole, two):
        assert data.manifest.split_by == "by hash of the story"
    assert by_hash.manifest.train == whole.manifest.train
    assert by_hash.manifest.train.stories + by_hash.manifest.val.stories == len(TRAIN)


def test_the_limit_holds_for_either_side(layout, tmp_path):
    """A few megabytes of training stories came with the whole validation split, of many more."""
    layout(train=[f"story {n}" for n in range(97)], validation=[f"other {n}" for n in range(89)])
    data = prepare("hub:me/stories", out=tmp_path / "D", vocab_size=257, limit_mb=70e-6)
    assert (data.manifest.train.stories, data.manifest.val.stories) == (10, 10)  # of 7 letters, 8 from 10


def test_as_val_it_means_its_validation_split(layout, tmp_path):
    layout(train=TRAIN, validation=VALIDATION)
    layout("whole", train=TRAIN)
    (tmp_path / "a.txt").write_text("One bee.\n\nTwo bees.")
    data = prepare("a.txt", out=tmp_path / "D", vocab_size=257, val="hub:me/stories")
    assert [story.text for story in data.val_stories()] == VALIDATION
    with pytest.raises(DataError, match="hub:me/whole has no split 'validation', only train"):
        prepare("a.txt", out=tmp_path / "E", vocab_size=257, val="hub:me/whole")


@pytest.mark.parametrize(
    ("spec", "column", "part"),
    [
        (
            "hub:me/stories",
            "story",
            r"hub:me/stories has no column 'story': prepare with another `column`; known: id, text",
        ),
        ("hub:me/stories", "id", r"hub:me/stories, train, row 1: 'id' holds 0, which is no text"),
        (
            "hub:me/stories:long",
            "text",
            r"cannot read hub:me/stories:long: .*'long' not found. Available: \['default'\]",
        ),
        ("hub:me/empty", "text", "cannot read hub:me/empty"),
        ("hub:stories", "text", "'hub:stories' names no data set: write hub:OWNER/NAME, or hub:OWNER/NAME:CONFIG"),
        ("hub:a/b/c", "text", "names no data set"),
        ("hub:", "text", "names no data set"),
    ],
)
def test_what_cannot_be_read_is_one_line(layout, capfd, spec, column, part):
    layout(train=TRAIN)
    layout("empty")
    with pytest.raises(DataError, match=part) as caught:
        list(open_hub(spec, column, "train"))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_damaged_file_is_one_line(layout, tmp_path):
    layout(train=TRAIN, validation=VALIDATION)
    file = tmp_path / "me/stories/data/train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:-7])
    with pytest.raises(DataError, match="cannot read hub:me/stories") as caught:
        list(open_hub("hub:me/stories", "text", "train"))
    assert "\n" not in str(caught.value)


def failing(error: Exception) -> Callable[..., None]:
    def dataset_info(*_: object, **options: object) -> None:
        assert 0 < float(str(options["timeout"])) <= 10
        raise error

    return dataset_info


def refusal(kind: type[Exception], status: int) -> Exception:
    """As the library makes it of an answer."""
    answer = SimpleNamespace(status_code=status, headers={}, request=None)
    return kind("Some\n\nlines.", response=answer)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (
            OSError("no route"),
            r"me/bees: the hub cannot be reached \(no route\); download .* another machine .*`storybook`",
        ),
        (TimeoutError(), r"the hub cannot be reached \(TimeoutError\)"),
        (RuntimeError("a\nb" * 999), "the hub cannot be reached"),
        (
            refusal(huggingface_hub.errors.RepositoryNotFoundError, 401),
            "the hub has no data set 'me/bees', or it is priv",
        ),
        (refusal(huggingface_hub.errors.HfHubHTTPError, 503), r"the hub refuses: Some lines\.; try again later"),
    ],
)
def test_a_hub_that_does_not_answer_is_one_line(monkeypatch, error, part):
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", failing(error))
    with pytest.raises(DataError, match=part) as caught:
        open_hub("hub:me/bees", "text", "train")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 240


@pytest.mark.parametrize("with_bars", [False, True])
def test_the_libraries_are_as_loud_as_before(layout, monkeypatch, with_bars):
    datasets = pytest.importorskip("datasets")
    layout(train=TRAIN)
    monkeypatch.setattr(logging.getLogger("datasets"), "level", 17)
    (datasets.utils.enable_progress_bars if with_bars else datasets.utils.disable_progress_bars)()
    rows = iter(open_hub("hub:me/stories", "text", "train"))
    next(rows)
    assert datasets.utils.are_progress_bars_disabled()
    assert logging.getLogger("datasets").level == logging.CRITICAL
    rows.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert logging.getLogger("datasets").level == 17
    assert datasets.utils.are_progress_bars_disabled() != with_bars
    datasets.utils.enable_progress_bars()


def test_offline_the_command_says_what_to_do_and_nothing_else(tmp_path):
    """`datasets` alone retries for half a minute, and prints of it."""
    with socket.socket() as closed:  # bound, but no one listens
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-c", "from storyloom.cli import main; main()", "prepare", "tinystories", "--out", "D"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "cache")},
        )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("storyloom: tinystories: the hub cannot be reached (")
    assert "another machine" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "D").exists()


def test_without_the_extra_the_way_to_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"datasets is needed to read tinystories: .*pip install '\.\[hub\]'"):
        open_hub("tinystories", "text", "train")
