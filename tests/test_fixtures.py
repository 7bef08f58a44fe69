"""Runs and model folders of every format there was: they open, tell and evaluate as when they were made."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

import storyloom
from storyloom.runs import Run
from storyloom.runs.rows import read_rows

HERE = Path(__file__).parent / "fixtures"
FORMATS = sorted(HERE.glob("format-*"))


def script():
    spec = importlib.util.spec_from_file_location("make_fixtures", HERE / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_current_format_is_stored():
    assert HERE / f"format-{script().FORMAT}" in FORMATS


@pytest.mark.parametrize("name", ["run", "model"])
@pytest.mark.parametrize("folder", FORMATS, ids=lambda folder: folder.name)
def test_it_is_read_as_when_it_was_made(folder, name):
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))[name]
    found = script().figures(folder / name, folder / "stories.txt")
    assert found.keys() == expected.keys()
    for figure, value in expected.items():
        assert found[figure] == (pytest.approx(value, abs=1e-6) if isinstance(value, float) else value)


@pytest.mark.parametrize("folder", FORMATS, ids=lambda folder: folder.name)
def test_a_run_can_be_gone_on_with_and_begun_from(folder, tmp_path):
    run = shutil.copytree(folder / "run", tmp_path / "run")
    rows = read_rows(run / "metrics.jsonl")
    assert storyloom.train(out=run, resume=True, progress=False).path == run  # finished: all of it is verified
    assert read_rows(run / "metrics.jsonl") == rows
    for model in (run, folder / "model"):
        settings = ["train.max_steps=1", "train.compile=false"]
        begun = storyloom.train(
            run / "data", out=tmp_path / model.name / "R", init=model, settings=settings, progress=False
        )
        assert begun.model_config == Run(run).model_config
