"""Tensors and JSON, in and out of a sealed folder. Knows no optimizer; nothing that it loads can run code.

CHECKPOINT/   model.safetensors   state.safetensors   state.json   manifest.json (sha256 of each)
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storyloom.errors import CheckpointError
from storyloom.files import MANIFEST, replace_folder, settled_folder
from storyloom.runs.layout import STATE, STATE_TENSORS, WEIGHTS

if TYPE_CHECKING:
    from torch import Tensor

_FIX = "put it back; stories and losses can still come from the other checkpoint, `last` or `best`"
FILES = (WEIGHTS, STATE_TENSORS, STATE)


@dataclass(frozen=True)
class Checkpoint:
    """What is kept: the model's weights and, where training may go on, its state."""

    weights: "dict[str, Tensor]"
    tensors: "dict[str, Tensor]" = field(default_factory=dict)
    """Training state that is tensors: moments, random states."""
    state: dict[str, Any] = field(default_factory=dict)
    """Training state that is JSON: step, place in the data."""


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace `folder` by this checkpoint; whenever the process dies, the old or the new one is there."""

    from safetensors.torch import save

    def fill(new: Path) -> None:
        state = json.dumps(checkpoint.state, indent=2) + "\n"
        for name, content in zip(
            FILES, (save(checkpoint.weights), save(checkpoint.tensors), state.encode()), strict=True
        ):
            (new / name).write_bytes(content)

    replace_folder(folder, fill)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint back and verify every byte, also while a training run replaces it.

    Raises:
        CheckpointError: it is missing, cut short or altered, with the file that is.
    """
    try:
        return _load(folder)
    except CheckpointError:
        return _load(folder)  # a writer may have put a new one in its place while this was read


def load_state(folder: Path) -> dict[str, Any]:
    """The JSON state of a checkpoint alone, verified; needs no torch. Raises `CheckpointError` as `load_checkpoint`."""
    try:
        return json.loads(_verified(folder, STATE)[0])
    except CheckpointError:
        return json.loads(_verified(folder, STATE)[0])  # as above


def _load(folder: Path) -> Checkpoint:
    from safetensors import SafetensorError
    from safetensors.torch import load

    weights, tensors, state = _verified(folder, *FILES)
    try:
        return Checkpoint(load(weights), load(tensors), json.loads(state))
    except (SafetensorError, ValueError):
        raise _damaged(folder) from None


def _verified(folder: Path, *names: str) -> list[bytes]:
    """Files of a checkpoint, each as its manifest vouches for."""
    settled = settled_folder(folder)
    if not settled.exists():
        raise CheckpointError(f"no checkpoint at {folder}: train one with `storyloom train`")
    try:
        checksums = dict(json.loads(_read(settled, MANIFEST, folder))["sha256"])
    except (ValueError, KeyError, TypeError):
        raise _damaged(folder / MANIFEST) from None
    return [_read(settled, name, folder, checksums.get(name)) for name in names]


def _read(settled: Path, name: str, folder: Path, checksum: str | None = None) -> bytes:
    """A file of a checkpoint; an error names the checkpoint, wherever a save that died has left it."""
    try:
        content = (settled / name).read_bytes()
    except OSError:
        raise CheckpointError(f"{folder / name} is missing: {_FIX}") from None
    if name != MANIFEST and hashlib.sha256(content).hexdigest() != checksum:
        raise _damaged(folder / name)
    return content


def _damaged(path: Path) -> CheckpointError:
    return CheckpointError(f"{path} is damaged (cut short or altered): {_FIX}")
