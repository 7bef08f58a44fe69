"""A run folder: what a training leaves behind, and all that telling and evaluating need.

RUN/   config.toml   tokenizer.json   metrics.jsonl   samples.jsonl   loss.png   checkpoints/last   checkpoints/best
"""

import os
import textwrap
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from storyloom.config import Config, load_config
from storyloom.data.tokenization import Tokenizer, load_tokenizer
from storyloom.errors import CheckpointError, ConfigError, RunError
from storyloom.files import settled_folder
from storyloom.model import GPT
from storyloom.model.undrawn import Undrawn
from storyloom.runs.checkpoint import load_checkpoint
from storyloom.runtime.device import choose_device
from storyloom.runtime.forking import fork_safe

CHECKPOINTS = ("best", "last")


class Run:
    """A run folder, opened for reading.

    Args:
        path: the folder that `train` wrote.

    Raises:
        RunError: it is missing or no run folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = run_path(path)
        if not (self.path / "config.toml").is_file():
            what = "is no run folder (no config.toml)" if self.path.exists() else "does not exist"
            raise RunError(f"{self.path} {what}: name a folder that `storyloom train` made")
        self.config: Config
        self.origin: dict[str, Any]  # what the run was made from: data, preset, versions
        self.config, self.origin = load_config(self.path / "config.toml")
        if self.config.model.vocab_size is None or not self.origin.keys() >= {"data", "tokenizer"}:
            raise RunError(f"{self.path}/config.toml is not as `storyloom train` wrote it: put it back, or train again")

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer the model was trained with."""
        tokenizer = load_tokenizer(self.path / "tokenizer.json")
        if tokenizer.fingerprint != self.origin.get("tokenizer"):
            raise RunError(f"{self.path}/tokenizer.json is not the tokenizer this run was trained with: put it back")
        return tokenizer

    @property
    def data_folder(self) -> Path:
        """The data the run was trained on: a folder of its own inside the run, or wherever it was."""
        return self.path / self.origin["data"]

    def checkpoint_folder(self, name: str) -> Path:
        """Where the checkpoint `last` or `best` lies."""
        return self.path / "checkpoints" / name

    def has_checkpoint(self, name: str) -> bool:
        """Whether the checkpoint `last` or `best` has been saved."""
        return settled_folder(self.checkpoint_folder(name)).exists()

    def load_model(self, checkpoint: str = "best", device: str | torch.device | None = None) -> GPT:
        """The model with the weights of a checkpoint, in evaluation mode.

        Args:
            checkpoint: `best` or `last`.
            device: as `choose_device` takes it; None means `auto`, the best one of this machine.

        Raises:
            CheckpointError: the checkpoint is missing or damaged.
            ConfigError: there is no such checkpoint or device.
        """
        target = choose_device("auto" if device is None else device)
        if checkpoint not in CHECKPOINTS:
            raise ConfigError(f"unknown checkpoint {checkpoint!r}: known are {', '.join(CHECKPOINTS)}")
        folder = self.checkpoint_folder(checkpoint)
        if not self.has_checkpoint(checkpoint):
            raise CheckpointError(
                f"{self.path} has no checkpoint {checkpoint!r} yet: continue the training with `resume`, "
                "or take the other one as `checkpoint`"
            )
        weights = load_checkpoint(folder).weights
        with fork_safe():
            with Undrawn():
                model = GPT(self.config.model)
            load_weights(model, weights, folder)
        return model.to(target).eval()


def run_path(path: str | os.PathLike[str]) -> Path:
    """The path of a run folder; raises `RunError` for what is no path."""
    if not isinstance(path, str | os.PathLike) or "\0" in os.fspath(path):
        raise RunError(f"a run is {path!r:.60}, of type {type(path).__name__}: give the path of its folder")
    return Path(path)


def model_weights(model: GPT) -> dict[str, torch.Tensor]:
    """The weights to keep, on the CPU; a tied head is the embedding and is kept once."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if model.config.tie_embeddings:
        del weights["head.weight"]
    return weights


def load_weights(model: GPT, weights: dict[str, torch.Tensor], source: Path) -> None:
    """Put kept weights into a model. Raises `CheckpointError` where they are another model's."""
    if model.config.tie_embeddings:
        weights = {**weights, "head.weight": weights.get("embedding.weight", torch.empty(0))}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = textwrap.shorten(str(error).splitlines()[-1], 90, placeholder=" ...")
        raise CheckpointError(f"the weights in {source} do not fit the settings in config.toml: {reason}") from None
