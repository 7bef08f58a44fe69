import json
import shutil

import pytest

import storyloom


def test_the_table_and_the_page(command, tmp_path, workspace):
    out = tmp_path / "c.html"
    outcome = command("compare", "R", "R-char", "--out", out)
    assert outcome.status == 0
    above, head, first, second, reason, page = outcome.out.splitlines()
    assert above.split() == ["minutes", "of"]
    assert head.split() == ["run", "bits/byte", "difference", "tokens", "updates"]
    for line, run in ((first, "R"), (second, "R-char")):
        figures = storyloom.evaluate(workspace / run)
        name, loss, sign, stderr, *_ = line.split()
        assert (name, sign) == (run, "+-")
        assert loss == f"{figures['bits_per_byte']:.4f}"
        assert stderr == f"{figures['bits_per_byte_stderr']:.4f}"
    assert reason == "R-char cannot be held against the first run: measured on different texts"
    assert page == f"page: {out}"
    assert out.is_file()


def test_json_is_one_object(command, tmp_path, workspace):
    twin = shutil.copytree(workspace / "R", tmp_path / "[b]twin")
    outcome = command("compare", "R", twin, "--out", tmp_path / "c.html", "--json")
    assert (outcome.status, outcome.out.count("\n")) == (0, 1)
    found = json.loads(outcome.out)
    assert list(found) == ["runs", "settings", "page"]
    first, second = found["runs"]
    assert (first["name"], second["name"]) == ("R", "[b]twin")
    assert first["bits_per_byte"] == storyloom.evaluate(workspace / "R")["bits_per_byte"]
    assert second["difference_bits_per_byte"] == pytest.approx(0, abs=1e-12)
    assert second["difference_bits_per_byte_stderr"] == pytest.approx(0, abs=1e-12)
    assert found["settings"] == {}


def test_a_narrow_terminal_shows_every_figure(command, tmp_path, workspace, monkeypatch):
    """With `COLUMNS=20` the columns of figures were cut to nothing."""
    monkeypatch.setenv("COLUMNS", "20")
    out = command("compare", "R", "R-char", "--out", tmp_path / "c.html").out
    for run in ("R", "R-char"):
        figures = storyloom.evaluate(workspace / run)
        assert f"bits/byte: {figures['bits_per_byte']:.4f} +- {figures['bits_per_byte_stderr']:.4f}\n" in out


def test_a_name_in_brackets_is_no_markup(command, tmp_path, workspace):
    twin = shutil.copytree(workspace / "R-char", tmp_path / "[red]twin")
    assert "[red]twin" in command("compare", "R", twin, "--out", tmp_path / "c.html").out


def test_a_damaged_checkpoint(command, copied, tmp_path):
    run = copied("R")
    (run / "checkpoints" / "best" / "model.safetensors").write_bytes(b"")
    outcome = command("compare", "R", run, "--out", tmp_path / "c.html")
    assert (outcome.status, outcome.out) == (2, "")
    assert "is damaged" in outcome.err.splitlines()[-1]
    assert not (tmp_path / "c.html").exists()
