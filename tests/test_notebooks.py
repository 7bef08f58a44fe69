"""The notebooks run from the first cell to the last, and each says the same as the script it is kept as."""

import subprocess
import sys
from pathlib import Path

import jupytext
import nbclient
import nbformat
import pytest

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SECONDS = 240  # a cell that hangs ends there
SHORTER = {  # what makes a notebook wait for its model, and less of it
    "2_attention": [("train.max_steps=100", "train.max_steps=9")],
    "3_training": [("limit_mb=3", "limit_mb=1"), ("STEPS, WARMUP, PEAK = 240", "STEPS, WARMUP, PEAK = 61")],
    "4_decoding": [("limit_mb=2", "limit_mb=1"), ("train.max_steps=140", "train.max_steps=13")],
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Whatever a notebook writes lies below this folder; threads that wait do not spin, as tests run side by side."""
    for name in ("TMPDIR", "TEMP", "TMP", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    monkeypatch.delenv("MPLBACKEND", raising=False)
    return tmp_path


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs_with_a_model_that_has_learned_little(place, path):
    notebook = nbformat.read(path, as_version=4)
    for old, new in SHORTER.get(path.stem, []):
        (cell,) = (cell for cell in notebook.cells if old in cell.source)
        cell.source = cell.source.replace(old, new)
    run_every_cell(notebook, place)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs_and_warns_of_nothing(place, path):
    run_every_cell(nbformat.read(path, as_version=4), place)


def run_every_cell(notebook, place):
    before = sorted(FOLDER.iterdir())
    client = nbclient.NotebookClient(notebook, timeout=SECONDS, kernel_name="python3")
    client.execute(cwd=str(place))
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 2
    assert sorted(FOLDER.iterdir()) == before


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_is_its_script_and_holds_no_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    script = jupytext.read(path.with_suffix(".py"))
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [
        (cell.cell_type, cell.source) for cell in script.cells
    ], f"make it anew: jupytext --update --to ipynb notebooks/{path.stem}.py"
    assert notebook.metadata.kernelspec == script.metadata.kernelspec
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [(cell.outputs, cell.execution_count) for cell in code] == [([], None)] * len(code)


def test_there_are_four_and_each_has_its_script():
    assert len(NOTEBOOKS) == 4
    assert [path.stem for path in sorted(FOLDER.glob("*.py"))] == [path.stem for path in NOTEBOOKS]


def test_a_script_runs_without_a_notebook_and_saves_its_pictures(place):
    done = subprocess.run(
        [sys.executable, FOLDER / "1_tokens.py"], cwd=place, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(place.glob("storyloom-*/*.png"))) == 2
