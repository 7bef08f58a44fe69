"""What is loaded when: a command that only prints its help must not wait for torch."""

import os
import subprocess
import sys

import pytest

import storyloom


def loaded_by(program: str) -> set[str]:
    """The top-level modules in memory after a program ran in a fresh interpreter."""
    report = "import sys; print('LOADED', *{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\n{report}"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1"},
        check=True,
    )
    return set(done.stdout.rpartition("LOADED ")[2].split())


@pytest.mark.parametrize("module", ["storyloom", "storyloom.config", "storyloom.data"])
def test_importing_loads_no_torch(module):
    loaded = loaded_by(f"import {module}")
    assert "storyloom" in loaded
    assert "torch" not in loaded


def test_the_package_alone_loads_nothing_heavy():
    assert not loaded_by("import storyloom") & {"torch", "numpy", "pydantic", "tokenizers", "matplotlib"}


def test_preparing_loads_no_torch(tmp_path):
    loaded = loaded_by(
        f"import storyloom; storyloom.prepare('storybook', out={str(tmp_path / 'D')!r}, vocab_size=263, limit_mb=0.01)"
    )
    assert "tokenizers" in loaded
    assert "torch" not in loaded


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["train", "--help"]])
def test_help_loads_nothing_heavy(words):
    program = f"""
from storyloom.cli import main
try:
    main({words!r})
except SystemExit as end:
    assert not end.code
"""
    loaded = loaded_by(program)
    assert "typer" in loaded
    by_typer = {"pydantic"} if "train" in words else set()  # to show a command's parameters
    assert not loaded & ({"torch", "numpy", "pydantic", "tokenizers", "safetensors", "matplotlib"} - by_typer)


def test_every_public_name_is_found():
    for name in storyloom.__all__:
        assert callable(getattr(storyloom, name))
    assert dir(storyloom) == sorted(storyloom.__all__)
    with pytest.raises(AttributeError, match="'tell_me'"):
        storyloom.tell_me  # noqa: B018


def test_a_run_and_its_rows_are_read_without_torch(tmp_path, story_data, tiny_file):
    run = storyloom.train(story_data, out=tmp_path / "R", config=tiny_file, progress=False).path
    loaded = loaded_by(
        f"""
from pathlib import Path
from storyloom.runs import Run
from storyloom.runs.checkpoint import load_state
from storyloom.runs.rows import read_rows
run = Run({str(run)!r})
assert run.tokenizer.vocab_size == run.model_config.vocab_size
assert run.figures == read_rows(run.path / "metrics.jsonl")[-1]
assert load_state(run.checkpoint_folder("last"))["step"] == 11
"""
    )
    assert "tokenizers" in loaded
    assert "torch" not in loaded
