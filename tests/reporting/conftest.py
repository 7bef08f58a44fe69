"""Runs to be reported on: invented ones, whose figures are known, and one that was really trained."""

import math
import shutil
from pathlib import Path

import pytest

from storyloom.config import Config, DataConfig, ModelConfig, TrainConfig, save_config
from storyloom.data import Data
from storyloom.reporting import stories
from storyloom.reporting.record import Record
from storyloom.runs.rows import Row

from ..invented import eval_row, final_row, sample_row, start_row, train_row, write_rows
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
        told: list[Row] = [start_row(), *(sample_row(step, story) for step, story in samples)]
        best = math.inf
        for step, loss in enumerate(losses, start=1):
            figures = {"epoch": step / epoch, "learning_rate": step * 1e-4, "grad_norm": 1 / step}
            pace = {"tokens_per_second": TOKENS / SECONDS, "seconds": step * SECONDS}
            bits = {"loss": float(loss), "bits_per_byte": loss / math.log(2) / 2.9}
            told.append(train_row(step, tokens=TOKENS * step, **bits, **figures, **pace))
            for _, nats in (found for found in evaluations if found[0] == step):
                told.append(eval_row(step, **scored(nats), is_best=nats < best))
                best = min(best, nats)
        if final is not None:
            told.append(final_row(len(losses), **final))
        write_rows(folder, *told)
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
