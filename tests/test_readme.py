"""The commands that the README shows are run, with less time and smaller models."""

import re

import storyloom

from .pages import PROJECT, blocks, lay_out, run_commands


def test_they_run_one_after_the_other(tmp_path, monkeypatch, tiny_file, capsys):
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    shown = [run_commands(text, tiny_file, capsys) for _, text in blocks(PROJECT / "README.md")]
    assert sum(shown) == 7
    assert (tmp_path / "run" / "data" / "manifest.json").is_file()
    assert (tmp_path / "data" / "manifest.json").is_file()


def test_its_python_is_the_package_docstring_which_is_run_elsewhere():
    (shown,) = (text for language, text in blocks(PROJECT / "README.md") if language == "python")
    assert [line for line in shown.splitlines() if line] == re.findall(r"^    (.*)$", storyloom.__doc__ or "", re.M)
