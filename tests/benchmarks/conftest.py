"""The benchmarks are scripts beside the package: their folder is no part of the path."""

import sys
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import ablation_arms
import pytest
from ablation_arms import EXPERIMENTS, ROUNDS, Experiment, Round

from storyloom.storybook import stories

SMALL = {
    "colour": Experiment("Which?", "green", {"red": ("train.ema=0.2",), "blue": ("model.n_layer=3",)}),
    "switch": Experiment("On?", "off", {"on": ("model.bias=true", "train.ema=0.3")}),
    "heat": Experiment("How hot?", "warm", {"hot": ("data.rows=hot",), "cold": ("data.rows=cold",)}),
    "side": Experiment("Up?", "down", {"up": ("train.schedule=up",)}),
}


@pytest.fixture
def real(monkeypatch):
    """Small experiments and rounds instead of the real ones, which are returned."""
    real = dict(EXPERIMENTS)
    monkeypatch.setattr(ablation_arms, "CONFIRMED", 2)
    rounds = {"screen": Round(6_000, True, (11,)), "confirm": Round(6_000, False, (3, 5))}
    with patch.dict(EXPERIMENTS, SMALL, clear=True), patch.dict(ROUNDS, rounds):
        yield real


@pytest.fixture
def text(tmp_path):
    """Fifty-three stories of the storybook."""
    path = tmp_path / "T.txt"
    path.write_text("\n<|endoftext|>\n".join(story.text for story in stories(9, 53)), encoding="utf-8")
    return path
