"""The commands that the README shows are run, with less time and smaller models."""

import json
import math
import re

import pytest

import storyloom
from storyloom.reporting.references import DESCRIBED

from .pages import PROJECT, blocks, lay_out, measure_briefly, run_commands


def test_they_run_one_after_the_other(tmp_path, monkeypatch, tiny_file, capsys):
    """Also the promise that the last two of them make: a repeated run ends with the same bits."""
    measure_briefly(monkeypatch)
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    shown = [run_commands(text, tiny_file, capsys) for _, text in blocks(PROJECT / "README.md")]
    assert sum(shown) == 13
    assert (tmp_path / "run" / "data" / "manifest.json").is_file()
    assert (tmp_path / "data" / "manifest.json").is_file()
    weights = [tmp_path / run / "checkpoints" / "best" / "model.safetensors" for run in ("run-1", "run-2")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.parametrize("page", ["README.md", "docs/questions.md", "src/storyloom/config/presets/laptop.toml"])
def test_figures_on_real_text_are_those_that_were_measured(page):
    """By `make systems`, of the preset as it stands."""
    text = (PROJECT / page).read_text(encoding="utf-8")
    lines = (PROJECT / "benchmarks" / "systems.jsonl").read_text(encoding="utf-8").splitlines()
    rows = {row["minutes_asked"]: row for row in map(json.loads, lines) if row["system"] == "laptop"}
    for row in (row for minutes, row in rows.items() if minutes >= 5):
        assert f"{row['bits_per_byte']:.3f}" in text
        assert page != "README.md" or f"({row['nats_per_token']:.3f}" in text
        assert page == "README.md" or f"{row['minutes_taken']:.1f}" in text
    (shown,) = re.findall(
        r"After ten minutes .*?\n\n((?:> .*\n)+)", (PROJECT / "README.md").read_text(encoding="utf-8")
    )
    (told,) = (sample["story"] for sample in rows[10]["samples"] if sample["strategy"] == "top-p")
    assert " ".join(told.split()).startswith(" ".join(shown.replace("> ", " ").split()))


def test_its_python_is_the_package_docstring_which_is_run_elsewhere():
    (shown,) = (text for language, text in blocks(PROJECT / "README.md") if language == "python")
    assert [line for line in shown.splitlines() if line] == re.findall(r"^    (.*)$", storyloom.__doc__ or "", re.M)


def test_published_figures_are_converted_as_it_says():
    """At 4.0 bytes a token of GPT-2's, and one where no tokenizer is named; it says which are training losses.

    It quoted the conversions as what the models report of themselves.
    """
    text = " ".join((PROJECT / "README.md").read_text(encoding="utf-8").split())
    bytes_per_token = {"gpt-2layer": 4.0, "gpt2-small": 4.0, "slm-30m": 4.0, "gpt-5m": 1.0}
    shown = {
        name: f"{float(published.nats_per_token) / math.log(2) / bytes_per_token[name]:.2f}"
        for name, published in DESCRIBED.items()
    }
    *others, last = sorted(shown.values(), reverse=True)
    assert f"published story models come to about {', '.join(others)} and {last} bits/byte" in text
    in_training = [shown[name] for name, published in DESCRIBED.items() if published.is_training_loss]
    assert f"{' and '.join(in_training)} are training losses" in text
