"""Nothing of a user's is removed or overwritten, and nothing of ours stays: of the names of what is unfinished."""

import errno
import os
from pathlib import Path

import pytest

from storyloom.files import building_folder, remove_leftovers, replace_folder, write_bytes
from storyloom.locking import LOCK_MARK
from storyloom.temporary import temporary_path

from .folders import fail, tree
from .test_files import NEW, OLD, fill_with, names_in, run_until, sealed

USERS = ("last.new", "last.old", "last.partial", "config.toml.new", "config.toml.tmp", ".last.0123456789abcdef.new")


def test_neighbors_of_the_user_are_never_touched(tmp_path, monkeypatch):
    """Whoever kept a copy as `last.old`, or had a file `config.toml.new`, lost it to the next save; whatever dies."""
    for last in range(1, 100):
        place = tmp_path / str(last)
        sealed(place / "last", OLD)
        for name in USERS:
            (place / name).mkdir()
            (place / name / "mine").write_bytes(b"precious")
        (place / ".config.toml.0123456789abcdef.tmp").write_bytes(b"precious")

        def save(place: Path = place) -> None:
            replace_folder(place / "last", fill_with(NEW))
            write_bytes(place / "config.toml", b"new content")

        died = run_until(monkeypatch, last, save)
        save()
        assert names_in(place) == {"last", "config.toml", ".config.toml.0123456789abcdef.tmp", *USERS}
        assert all((place / name / "mine").read_bytes() == b"precious" for name in USERS)
        if not died:
            return
    pytest.fail("the saving never came to its end")


def test_what_a_killed_writer_left_of_a_file_is_removed_by_the_next_one(tmp_path):
    dead = temporary_path(tmp_path / "a.html", "tmp")
    dead.write_bytes(b"half a pa")
    others = temporary_path(tmp_path / "a.html.b", "tmp")
    others.write_bytes(b"of another file")
    write_bytes(tmp_path / "a.html", b"new")
    assert tree(tmp_path) == {"a.html": b"new", others.name: b"of another file"}


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be removed there")
def test_what_a_living_writer_is_at_work_on_is_left_alone(tmp_path, monkeypatch):
    """Two processes write one page: each has a file of its own, and the later one is there in the end."""
    replace = os.replace

    def meanwhile(*names) -> None:
        monkeypatch.setattr(os, "replace", replace)
        write_bytes(tmp_path / "a.html", b"another process's")
        replace(*names)

    monkeypatch.setattr(os, "replace", meanwhile)
    write_bytes(tmp_path / "a.html", b"ours")
    assert tree(tmp_path) == {"a.html": b"ours"}


def test_leftovers_in_a_folder_of_ours_are_removed(tmp_path):
    write_bytes(tmp_path / "config.toml", b"[run]")
    with building_folder(tmp_path / "alive") as alive:
        temporary_path(tmp_path / "config.toml", "tmp").write_bytes(b"half")
        temporary_path(tmp_path / "data", "partial").mkdir()
        (tmp_path / ".data.storyloom-lock").write_bytes(LOCK_MARK)
        (tmp_path / ".mine.storyloom-lock").write_bytes(b"precious")
        (tmp_path / "data.partial").mkdir()
        remove_leftovers(tmp_path)
        assert names_in(tmp_path) == {
            *("config.toml", ".mine.storyloom-lock", "data.partial"),
            *(".partial", ".alive.storyloom-lock"),  # of the block above
        }
        (alive / "a").touch()
    assert tree(tmp_path / "alive") == {"a": b""}


def test_a_name_of_any_length_can_be_written(tmp_path):
    """A name of 252 bytes could be written to, but its temporary name was too long."""
    name = "ä" * 120 + "123456789012"
    write_bytes(tmp_path / name, b"new")
    assert tree(tmp_path) == {name: b"new"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_an_error_names_the_users_path(tmp_path, monkeypatch, number):
    """A full disk named no path at all, a folder that is read-only the temporary file `a.html.new`."""
    error = OSError(number, os.strerror(number))
    if number == errno.EACCES:
        open_ = Path.open

        def refuse(path: Path, mode: str = "r", **options):
            return open_(path, mode, **options) if "x" not in mode else fail(OSError(number, "no", str(path)))()

        monkeypatch.setattr(Path, "open", refuse)
    else:
        monkeypatch.setattr(os, "fsync", fail(error))
    with pytest.raises(OSError, match=r"a\.html") as caught:
        write_bytes(tmp_path / "a.html", b"new")
    assert caught.value.filename == str(tmp_path / "a.html")
    assert tree(tmp_path) == {}
