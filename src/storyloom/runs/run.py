"""A run folder: what a training leaves behind, and all that telling and evaluating need. Its files: see `layout.py`."""

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storyloom.config import Config, ModelConfig, load_config
from storyloom.data.tokenization import Tokenizer, load_tokenizer
from storyloom.errors import CheckpointError, ConfigError, RunError
from storyloom.files import settled_folder
from storyloom.runs.checkpoint import load_checkpoint, load_state
from storyloom.runs.layout import CHECKPOINT_FOLDER, CHECKPOINTS, METRICS, RUN_CONFIG, STATE, TOKENIZER, WEIGHTS
from storyloom.runs.rows import FinalRow, last_row, read_marks, verify_logs

if TYPE_CHECKING:
    import torch

    from storyloom.model import GPT
    from storyloom.runs.weights import Weights


class Run:
    """A run folder, opened for reading.

    Args:
        path: the folder that `train` wrote.

    Raises:
        RunError: it is missing or no run folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = run_path(path)
        if not (self.path / RUN_CONFIG).is_file():
            what = "is no run folder (no config.toml)" if self.path.exists() else "does not exist"
            raise RunError(f"{self.path} {what}: name a folder that `storyloom train` made")
        self.config: Config
        self.origin: dict[str, Any]  # what the run was made from: data, preset, versions
        self.config, self.origin = load_config(self.path / RUN_CONFIG)
        if self.config.model.vocab_size is None or not self.origin.keys() >= {"data", "tokenizer"}:
            raise RunError(f"{self.path}/config.toml is not as `storyloom train` wrote it: put it back, or train again")

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer the model was trained with."""
        tokenizer = load_tokenizer(self.path / TOKENIZER)
        if tokenizer.fingerprint != self.origin.get("tokenizer"):
            raise RunError(f"{self.path}/tokenizer.json is not the tokenizer this run was trained with: put it back")
        return tokenizer

    @property
    def data_folder(self) -> Path:
        """The data the run was trained on: a folder of its own inside the run, or wherever it was."""
        return self.path / self.origin["data"]

    @property
    def figures(self) -> FinalRow | None:
        """The evaluation of all validation stories at the end of the training; None before it.

        Raises:
            RunError: the last row of `metrics.jsonl` is damaged.
        """
        last = last_row(self.path / METRICS)
        return last if isinstance(last, FinalRow) else None

    def verify_logs(self) -> None:
        """Raise `RunError` if a row that the checkpoint `last` vouches for is missing or altered."""
        if self.has_checkpoint("last"):
            folder = self.checkpoint_folder("last")
            state = load_state(folder)
            verify_logs(self.path, read_marks(state, folder / STATE), state.get("step", 0))

    def checkpoint_folder(self, name: str) -> Path:
        """Where the checkpoint `last` or `best` lies."""
        return self.path / CHECKPOINT_FOLDER / name

    def has_checkpoint(self, name: str) -> bool:
        """Whether the checkpoint `last` or `best` has been saved."""
        return settled_folder(self.checkpoint_folder(name)).exists()

    @property
    def model_config(self) -> ModelConfig:
        """The model's settings."""
        return self.config.model

    @property
    def start(self) -> int:
        """The token that a sequence begins with; a run's is the end-of-text, too."""
        return self.tokenizer.eot

    @property
    def end(self) -> int:
        """The token that a sequence ends with."""
        return self.tokenizer.eot

    @property
    def weights_file(self) -> Path:
        """Where the weights of the checkpoint `best` lie."""
        return settled_folder(self.checkpoint_folder("best")) / WEIGHTS

    def read_weights(self, checkpoint: str = "best") -> "Weights":
        """The weights of a checkpoint by name, in float32.

        Args:
            checkpoint: `best` or `last`.

        Raises:
            CheckpointError: the checkpoint is missing or damaged.
            ConfigError: there is no such checkpoint.
        """
        if checkpoint not in CHECKPOINTS:
            raise ConfigError(f"unknown checkpoint {checkpoint!r}: known are {', '.join(CHECKPOINTS)}")
        if not self.has_checkpoint(checkpoint):
            raise CheckpointError(
                f"{self.path} has no checkpoint {checkpoint!r} yet: continue the training with `resume`, "
                "or take the other one as `checkpoint`"
            )
        return load_checkpoint(self.checkpoint_folder(checkpoint)).weights

    def load_model(self, checkpoint: str = "best", device: "str | torch.device | None" = None) -> "GPT":
        """The model with the weights of a checkpoint, in evaluation mode.

        Args:
            checkpoint: `best` or `last`.
            device: as `choose_device` takes it; None means `auto`, the best one of this machine.

        Raises:
            CheckpointError: the checkpoint is missing or damaged.
            ConfigError: there is no such checkpoint or device.
        """
        from storyloom.runs.weights import built_model

        weights = self.read_weights(checkpoint)
        return built_model(self.config.model, weights, self.checkpoint_folder(checkpoint), device)


def run_path(path: str | os.PathLike[str]) -> Path:
    """The path of a run folder; raises `RunError` for what is no path."""
    if not isinstance(path, str | os.PathLike) or "\0" in os.fspath(path):
        raise RunError(f"a run is {path!r:.60}, of type {type(path).__name__}: give the path of its folder")
    return Path(path)
