"""Runs to be reported on: invented ones, whose figures are known, and one that was really trained."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from storyloom.config import Config, DataConfig, ModelConfig, TrainConfig, save_config
from storyloom.data import Data
from storyloom.reporting import stories
from storyloom.reporting.record import Record

from .runs import SECONDS, TOKENS, scored, train


@pytest.fixture
def make_record(tmp_path):
    def make(
        losses, evaluations=(), final=None, *, name="R", origin=None, samples=(), rows="packed", epoch=10, **settings
    ) -> Record:
        """A run with a loss for each update, `epoch` of them to an epoch; evaluations are (step, loss), samples (step,
        story); no checkpoint, no data.
        """
        folder = tmp_path / name
        folder.mkdir()
        config = Config(
            data=DataConfig(rows=rows),
            model=ModelConfig(vocab_size=53),
            train=TrainConfig(max_steps=len(losses) or 1).with_(**settings),
        )
        made = {"data": "gone", "tokenizer": "T", "storyloom": "0.1", "torch": "2.13"}
        save_config(folder / "config.toml", config, made | (origin or {}))
        start = {"parameters": 4567, "flops_per_token": 89_000, "device": "cpu", "precision": "fp32"}
        rows: list[dict[str, Any]] = [{"kind": "start", "step": 0, **start, "threads": 3, "compiled": False}]
        best = math.inf
        for step, loss in enumerate(losses, start=1):
            figures = {"epoch": step / epoch, "learning_rate": step * 1e-4, "grad_norm": 1 / step}
            pace = {"tokens_per_second": TOKENS / SECONDS, "seconds": step * SECONDS}
            bits = {"loss": loss, "bits_per_byte": loss / math.log(2) / 2.9}
            rows.append({"kind": "train", "step": step, "tokens": TOKENS * step, **bits, **figures, **pace})
            for _, nats in (found for found in evaluations if found[0] == step):
                rows.append({"kind": "eval", "step": step, **scored(nats), "is_best": nats < best})
                best = min(best, nats)
        if final is not None:
            row = {"comparable": True, "text_sha256": "abc", "minutes": 1.7} | final
            rows.append({"kind": "final", "step": len(losses), "checkpoint": "best", **row})
        told = [{"kind": "sample", "step": step, "story": story} for step, story in samples]
        for file, content in (("metrics.jsonl", rows), ("samples.jsonl", told)):
            (folder / file).write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
        return Record(folder)

    return make


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, story_data: Data) -> Path:
    """A run that was trained on the storybook to its end; to be read only."""
    return train(story_data, tmp_path_factory.mktemp("reports") / "finished")


@pytest.fixture
def run_copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be written into."""
    return shutil.copytree(finished, tmp_path / "run")


@pytest.fixture
def short_stories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages whose stories are soon told."""
    monkeypatch.setattr(stories, "MAX_NEW_TOKENS", 13)
