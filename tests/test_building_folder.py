"""A folder that is made appears whole, or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from storyloom.files import building_folder
from storyloom.temporary import temporary_path

from .folders import fail, tree


def test_building_folder_appears_whole(tmp_path):
    (tmp_path / "D").mkdir()
    with building_folder(tmp_path / "D") as partial:
        (partial / "a").write_bytes(b"1")
        assert list((tmp_path / "D").iterdir()) == []
    assert tree(tmp_path) == {"D": None, "D/a": b"1"}


def test_what_a_killed_one_left_is_removed_and_what_the_user_has_stays(tmp_path):
    """A folder `D.partial` of the user's was removed."""
    dead = temporary_path(tmp_path / "D", "partial")
    users = [tmp_path / "D.partial", tmp_path / ".D.0123456789abcdef.partial"]
    for folder in (dead, *users):
        folder.mkdir()
        (folder / "a").write_bytes(b"precious")
    build(tmp_path / "D")
    assert set(tmp_path.iterdir()) == {tmp_path / "D", *users}
    assert all((folder / "a").read_bytes() == b"precious" for folder in users)


def test_a_link_to_a_folder_is_followed(tmp_path):
    """Renaming onto a link failed behind all the work."""
    (tmp_path / "D").symlink_to(tmp_path / "elsewhere")
    build(tmp_path / "D")
    assert (tmp_path / "elsewhere" / "a").read_bytes() == b"1"
    assert (tmp_path / "D").is_symlink()


def test_an_error_names_the_folder_and_not_its_temporary_name(tmp_path):
    """On a full disk it was `D.partial/train-00000.bin`."""

    def write_more() -> None:
        next(tmp_path.glob(".D.*.partial")).joinpath("b", "c").write_bytes(b"")

    with pytest.raises(OSError, match="No such file") as caught:
        build(tmp_path / "D", write_more)
    assert caught.value.filename == str(tmp_path / "D")
    assert tree(tmp_path) == {}


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
