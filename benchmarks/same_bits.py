"""Whether training still ends with the bits of an older commit: the same small runs with both source trees.

Run with `python benchmarks/same_bits.py --before COMMIT`, which prints a table. The commit is checked out into a
temporary worktree of git. Each side prepares the storybook and trains in processes of its own; one run is stopped by
SIGTERM and resumed by another process. All tensors of the checkpoints `last` and `best` are compared by their bits, and
all losses in the metrics by their digits. The exit status is 1 if anything differs.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

HERE = Path(__file__).parents[1]
BASE = (
    *("model.n_layer=2", "model.n_head=2", "model.n_embd=44", "model.block_size=37", "train.max_steps=17"),
    *("train.batch_size=5", "train.learning_rate=3e-3", "train.warmup_steps=3", "train.eval_interval=7"),
    *("train.eval_stories=11", "train.sample_interval=13", "train.checkpoint_interval=3", "train.precision=fp32"),
    *("train.compile=false", "train.threads=1", "train.device=cpu"),
    *("train.optimizer=adamw", "model.attention=sdpa"),  # which the preset has otherwise
)
CONFIGURATIONS: dict[str, tuple[str, ...]] = {
    "AdamW": (),
    "Adam": ("train.optimizer=adam",),
    "Muon": ("train.optimizer=muon",),
    "dropout": ("model.dropout=0.2",),
    "accumulation": ("train.grad_accum_steps=3",),
    "packed rows": ("data.rows=packed",),
    "padded rows": ("data.rows=padded",),
    "aligned rows": ("data.rows=aligned",),
    "EMA": ("train.ema=0.9",),
    "bf16": ("train.precision=bf16",),
    "two threads": ("train.threads=2", "train.optimizer=muon"),
    "eager attention, bf16": ("model.attention=eager", "train.precision=bf16"),
    "learned positions, biases, LayerNorm": (
        *("model.position=learned", "model.bias=true", "model.norm=layernorm", "model.mlp=gelu"),
        *("model.norm_placement=post", "model.tie_embeddings=false", "train.schedule=cosine"),
    ),
    "WSD": ("train.schedule=wsd",),
    "resumed after SIGTERM": (
        *("train.optimizer=muon", "model.dropout=0.1", "train.ema=0.9", "train.grad_accum_steps=2"),
        *("data.rows=padded",),
    ),
}
STOPPED, STOP_AT = "resumed after SIGTERM", 8  # not at a checkpoint of the plan
# A commit may have older words for the same choices: each side is given those that it knows.
OLDER_WORDS = {
    "data.rows=packed": "data.rows=stream",
    "model.attention=eager": "model.attention=explicit",
    "model.attention=sdpa": "model.attention=fused",
    "train.schedule=wsd": "train.schedule=trapezoid",
}
RENAMED_TENSORS: dict[str, str] = {}  # the name before: the name after
# What depends on the clock or on the version, not on what was computed; names as `metrics.jsonl` has them.
LOSSES = ("loss", "nats_per_token", "bits_per_byte", "grad_norm", "lr")


def worker(folder: Path, part: str) -> None:
    """With one side's sources: train all but the stopped one, or that one until it is stopped, or resume it."""
    import storyloom

    if not Path(storyloom.__file__).is_relative_to(os.environ["PYTHONPATH"]):
        raise SystemExit(f"{storyloom.__file__} is not of the sources in {os.environ['PYTHONPATH']}")
    if part == "resume":
        storyloom.train(out=folder / STOPPED, resume=True, progress=False)
        return
    data = folder / "data"
    if not data.exists():
        storyloom.prepare("storybook", out=data, vocab_size=307, limit_mb=0.05)

    def listen(row: Any) -> None:
        row = row if isinstance(row, dict) else vars(row)  # an older commit has dictionaries
        if part == "stop" and row["kind"] == "train" and row["step"] == STOP_AT:
            os.kill(os.getpid(), signal.SIGTERM)

    for name in CONFIGURATIONS if part == "all" else [STOPPED]:
        if part == "all" and name == STOPPED:
            continue
        train_in_known_words(data, folder / name, [*BASE, *CONFIGURATIONS[name]], listen)


def train_in_known_words(data: Path, out: Path, settings: list[str], listen: Any) -> None:
    import storyloom
    from storyloom.errors import ConfigError

    chosen = dict(setting.split("=") for setting in settings)  # a later one replaces an earlier one
    words = [f"{name}={value}" for name, value in chosen.items()]
    try:
        storyloom.train(data, out=out, preset="tiny", settings=words, progress=listen)
    except ConfigError as error:
        if "is not one of its choices" not in str(error):
            raise
        words = [OLDER_WORDS.get(word, word) for word in words]
        storyloom.train(data, out=out, preset="tiny", settings=words, progress=listen)


def train_side(sources: Path, folder: Path) -> None:
    """Train everything with the sources of one side."""
    environment = {**os.environ, "PYTHONPATH": str(sources / "src"), "OMP_WAIT_POLICY": "passive"}
    for part in ("all", "stop", "resume"):
        command = [sys.executable, __file__, "--worker", part, str(folder)]
        status = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if (status.returncode == 0) == (part == "stop"):
            raise SystemExit(f"{sources}, {part}: exit status {status.returncode}\n{status.stderr}")
        if part == "stop":
            kinds = {row["kind"] for row in rows_of(folder / STOPPED)}
            if "train" not in kinds or "final" in kinds:
                raise SystemExit(f"{sources}: the run was not stopped midway\n{status.stderr}")


def rows_of(run: Path) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in lines]


def losses_of(run: Path) -> dict[str, float]:
    """All that was computed and written down, by kind, step and name."""
    return {
        f"{row['kind']} {row['step']} {name}": row[name]
        for row in rows_of(run)
        for name in LOSSES
        if isinstance(row.get(name), int | float)
    }


def tensors_of(run: Path, checkpoint: str) -> dict[str, torch.Tensor]:
    tensors = load_file(run / "checkpoints" / checkpoint / "model.safetensors")
    return {RENAMED_TENSORS.get(name, name): tensor for name, tensor in tensors.items()}


def differences(before: Path, after: Path) -> list[str]:
    """What differs between two runs, in words; empty if they are equal to the bit."""
    found = []
    for checkpoint in ("last", "best"):
        one, other = tensors_of(before, checkpoint), tensors_of(after, checkpoint)
        if one.keys() != other.keys():
            found.append(f"{checkpoint}: only one has {', '.join(sorted(one.keys() ^ other.keys()))}")
            continue
        if not any(tensor.any() for tensor in one.values()):
            raise SystemExit(f"{before}: all weights are zero, which proves nothing")
        unequal = {name: largest(one[name], other[name]) for name in one if not same_bits(one[name], other[name])}
        if unequal:
            name = max(unequal, key=lambda name: unequal[name])
            found.append(f"{checkpoint}: {len(unequal)} of {len(one)} tensors, at most {unequal[name]:.3g} in {name}")
    return found + differing_losses(losses_of(before), losses_of(after), before)


def differing_losses(one: dict[str, float], other: dict[str, float], before: Path) -> list[str]:
    if not any(name.startswith("eval") for name in one):
        raise SystemExit(
            f"{before}: no losses of evaluations are in the metrics, or they have other names than {LOSSES}"
        )
    figures = [name for name in one.keys() | other.keys() if one.get(name) != other.get(name)]
    return [f"{len(figures)} of {len(one)} figures of the metrics, such as {min(figures)}"] if figures else []


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and one.numpy().tobytes() == other.numpy().tobytes()


def largest(one: torch.Tensor, other: torch.Tensor) -> float:
    return float("inf") if one.shape != other.shape else (one.double() - other.double()).abs().max().item()


@contextmanager
def worktree(commit: str, folder: Path) -> Iterator[Path]:
    git = ["git", "-C", str(HERE), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(folder), commit], check=True)
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def main(before: str) -> int:
    with tempfile.TemporaryDirectory() as made, worktree(before, Path(made) / "sources") as sources:
        folders = {side: Path(made) / side for side in ("before", "after")}
        for side, tree in (("before", sources), ("after", HERE)):
            train_side(tree, folders[side])
        found = {name: differences(*(folder / name for folder in folders.values())) for name in CONFIGURATIONS}
    print(f"{'configuration':38} {before[:12]} and the working tree")
    for name, what in found.items():
        print(f"{name:38} {'; '.join(what) or 'equal'}")
    return int(any(found.values()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", metavar="COMMIT", help="the commit to compare the working tree with")
    parser.add_argument("--worker", choices=["all", "stop", "resume"], help=argparse.SUPPRESS)
    parser.add_argument("folder", nargs="?", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        worker(given.folder, given.worker)
    elif given.before:
        sys.exit(main(given.before))
    else:
        parser.error("name a commit: --before COMMIT")
