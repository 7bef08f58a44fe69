"""Configurations that cover every pair of model choices, and models whose every parameter matters."""

from collections.abc import Callable

import pytest
import torch

from storyloom.config import ModelConfig
from storyloom.model import GPT

from .choices import ROWS, SHAPE, name_of


@pytest.fixture(params=ROWS, ids=name_of)
def config(request: pytest.FixtureRequest) -> ModelConfig:
    """One of the configurations that together hold every pair of choices."""
    return ModelConfig(**SHAPE, **request.param)


@pytest.fixture(scope="session")
def make_model() -> Callable[..., GPT]:
    """Build a float64 model in evaluation mode with random gains, biases and weights of a size that matters."""

    def make(config: ModelConfig, seed: int = 0) -> GPT:
        model = GPT(config).double().eval()
        dice = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                noise = torch.randn(parameter.shape, generator=dice, dtype=torch.double)
                parameter.copy_(noise * 0.15 if parameter.dim() > 1 else 0.5 + noise.abs())
        return model

    return make


@pytest.fixture(scope="session")
def draw_ids() -> Callable[..., torch.Tensor]:
    """Random ids below 53, int64 (batch, length)."""

    def draw(batch: int, length: int, seed: int = 7) -> torch.Tensor:
        return torch.randint(53, (batch, length), generator=torch.Generator().manual_seed(seed))

    return draw
