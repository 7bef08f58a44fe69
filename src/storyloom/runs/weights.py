"""Weights by name, in and out of a model."""

import textwrap
from pathlib import Path

import torch

from storyloom.config import ModelConfig
from storyloom.errors import CheckpointError
from storyloom.model import GPT
from storyloom.model.undrawn import Undrawn
from storyloom.runtime.device import choose_device
from storyloom.runtime.forking import fork_safe

Weights = dict[str, torch.Tensor]


def model_weights(model: GPT) -> Weights:
    """The weights to keep, on the CPU; a tied head is the embedding and is kept once."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if model.config.tie_embeddings:
        del weights["head.weight"]
    return weights


def load_weights(model: GPT, weights: Weights, source: Path) -> None:
    """Put kept weights into a model. Raises `CheckpointError` if they are another model's."""
    if model.config.tie_embeddings:
        weights = {**weights, "head.weight": weights.get("embedding.weight", torch.empty(0))}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = textwrap.shorten(str(error).splitlines()[-1], 90, placeholder=" ...")
        raise CheckpointError(f"the weights in {source} do not fit their settings: {reason}") from None


def built_model(config: ModelConfig, weights: Weights, source: Path, device: str | torch.device | None) -> GPT:
    """A model with these weights, in evaluation mode.

    Args:
        config: the model's.
        weights: by name.
        source: where they were read, for the message.
        device: as `choose_device` takes it; None means `auto`, the best one of this machine.

    Raises:
        CheckpointError: the weights are another model's.
        ConfigError: there is no such device.
    """
    target = choose_device("auto" if device is None else device)
    with fork_safe():
        with Undrawn():
            model = GPT(config)
        load_weights(model, weights, source)
    return model.to(target).eval()
