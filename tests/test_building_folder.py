"""A folder that is made appears whole, or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from storyloom.files import building_folder

from .folders import fail, tree


def test_building_folder_appears_whole(tmp_path):
    (tmp_path / "D.partial").mkdir()
    (tmp_path / "D.partial" / "leftover of a killed one").touch()
    (tmp_path / "D").mkdir()
    with building_folder(tmp_path / "D") as partial:
        (partial / "a").write_bytes(b"1")
        assert list((tmp_path / "D").iterdir()) == []
    assert tree(tmp_path) == {"D": None, "D/a": b"1"}


def build(folder: Path, then: Callable[[], object] = lambda: None) -> None:
    with building_folder(folder) as partial:
        (partial / "a").write_bytes(b"1")
        then()


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_building_folder_leaves_nothing_behind(tmp_path, error):
    with pytest.raises(type(error)):
        build(tmp_path / "D", fail(error))
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("operation", ["fsync", "rename"])
def test_building_folder_fails_behind_the_block(tmp_path, monkeypatch, operation):
    with monkeypatch.context() as patch:
        patch.setattr(os, operation, fail(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            build(tmp_path / "D")
    assert tree(tmp_path) == {}


def test_building_folder_never_replaces_a_full_one(tmp_path):
    def somebody_was_faster() -> None:
        (tmp_path / "D").mkdir()
        (tmp_path / "D" / "theirs").touch()

    with pytest.raises(OSError, match="D"):
        build(tmp_path / "D", somebody_was_faster)
    assert tree(tmp_path) == {"D": None, "D/theirs": b""}
