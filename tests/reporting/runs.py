"""What invented runs hold, and a tiny run that is really trained."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import storyloom
from storyloom.data import Data
from storyloom.runs import load_checkpoint, save_checkpoint
from storyloom.runs.rows import RunLog

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


def rewrite(run: Path, file: str, **changes: Any) -> None:
    """Change a value in every row of a file that has it."""
    path = run / file
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    changed = [{**row, **{name: value for name, value in changes.items() if name in row}} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in changed), encoding="utf-8")
    vouch(run)


def vouch(run: Path) -> None:
    """Let the last checkpoint vouch for the rows as they are now."""
    folder, log = run / "checkpoints" / "last", RunLog(run)
    checkpoint, marks = load_checkpoint(folder), {name: asdict(mark) for name, mark in log.marks().items()}
    save_checkpoint(folder, replace(checkpoint, state={**checkpoint.state, "logs": marks}))
    log.close()
