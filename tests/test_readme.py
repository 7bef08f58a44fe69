"""The commands that the README shows are run, with less time and smaller models."""

from .pages import PROJECT, blocks, lay_out, run_commands


def test_they_run_one_after_the_other(tmp_path, monkeypatch, tiny_file, capsys):
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    shown = [run_commands(text, tiny_file, capsys) for _, text in blocks(PROJECT / "README.md")]
    assert sum(shown) >= 6
    assert (tmp_path / "run" / "data" / "manifest.json").is_file()
    assert (tmp_path / "data" / "manifest.json").is_file()
