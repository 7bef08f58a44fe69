"""The public names, and the lines at the top of the package that everybody tries first."""

import re

import pytest

import storyloom


def test_the_first_lines_run_as_they_stand(tmp_path, monkeypatch, capsys):
    lines = re.findall(r"^    (.*)$", storyloom.__doc__ or "", flags=re.MULTILINE)
    code = "\n".join(lines)
    assert code.startswith("import storyloom\n")
    assert code.count("storyloom.") == 3
    story = "Once upon a time, in year {}, a cat met {} dogs. They all sat down."
    text = "\n<|endoftext|>\n".join(story.format(i, i * i) for i in range(97))
    (tmp_path / "my.txt").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    small = {"model.n_layer": 1, "model.n_embd": 32, "model.n_head": 2, "model.block_size": 37, "train.max_steps": 3}
    settings = [f"{name}={value}" for name, value in small.items()]
    replaced = code.replace("vocab_size=2048", "vocab_size=307").replace("minutes=10", f"settings={settings}")
    exec(replaced, {})
    assert capsys.readouterr().out.startswith("Once upon a time")
    assert (tmp_path / "R" / "checkpoints" / "best").is_dir()


def test_all_public_names_are_there():
    assert dir(storyloom) == sorted(storyloom.__all__)
    for name in storyloom.__all__:
        assert callable(getattr(storyloom, name)), name
        assert getattr(storyloom, name).__doc__, name


def test_other_names_are_refused():
    with pytest.raises(AttributeError, match="module 'storyloom' has no attribute 'generate'"):
        storyloom.generate  # noqa: B018
