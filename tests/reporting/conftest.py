"""Runs to be reported on: invented ones, whose figures are known, and one that was really trained."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

import storyloom
from storyloom.config import Config, ModelConfig, TrainConfig, save_config
from storyloom.data import Data
from storyloom.reporting.record import Record
from storyloom.runtime import Run

TOKENS, SECONDS = 113, 0.5  # of an update
BYTES, SCORED = 3001, 1009  # of the validation text
BYTES_PER_TOKEN = BYTES / SCORED


def scored(nats: float, stories: int = 7) -> dict[str, Any]:
    """What an evaluation writes."""
    bits = nats / math.log(2) / BYTES_PER_TOKEN
    return {
        "nats_per_token": nats,
        "perplexity": math.exp(nats),
        "bits_per_byte": bits,
        "bits_per_byte_stderr": 0.0123,
        "tokens": SCORED,
        "bytes": BYTES,
        "stories": stories,
    }


@pytest.fixture
def make_record(tmp_path):
    def make(losses, evaluations=(), final=None, *, name="R", origin=None, samples=(), **settings) -> Record:
        """A run with a loss for each update; evaluations are (step, loss), samples (step, story); no checkpoint."""
        folder = tmp_path / name
        folder.mkdir()
        config = Config(model=ModelConfig(vocab_size=53), train=TrainConfig(max_steps=len(losses)).with_(**settings))
        save_config(folder / "config.toml", config, {"data": "gone", "tokenizer": "T"} | (origin or {}))
        start = {"parameters": 4567, "flops_per_token": 89_000, "device": "cpu", "precision": "fp32"}
        rows: list[dict[str, Any]] = [{"kind": "start", "step": 0, **start, "threads": 3, "compiled": False}]
        best = math.inf
        for step, loss in enumerate(losses, start=1):
            figures = {"epoch": step / 10, "learning_rate": step * 1e-4, "grad_norm": 1 / step}
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


def train(data: Data, out: Path, *settings: str) -> Path:
    """Train a tiny model."""
    tiny = {
        "model.n_layer": 1,
        "model.n_head": 2,
        "model.n_embd": 32,
        "model.block_size": 37,
        "train.max_steps": 29,
        "train.batch_size": 3,
        "train.learning_rate": 3e-3,
        "train.warmup_steps": 2,
        "train.precision": "fp32",
        "train.threads": 1,
        "train.compile": "false",
        "train.eval_interval": 11,
        "train.eval_stories": 3,
        "train.sample_interval": 7,
        "train.checkpoint_interval": 13,
    }
    asked = [f"{name}={value}" for name, value in tiny.items()] + list(settings)
    return storyloom.train(data, out=out, preset="tiny", settings=asked, progress=False).path


def rewrite(run: Run, file: str, **changes: Any) -> None:
    """Change a value in every row of a file that has it."""
    path = run.path / file
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    changed = [{**row, **{name: value for name, value in changes.items() if name in row}} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in changed), encoding="utf-8")
