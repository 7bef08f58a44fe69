"""Configurations that cover every pair of model choices, and models whose every parameter matters."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from storyloom.config import ModelConfig
from storyloom.model import GPT

CHOICES: dict[str, tuple[Any, ...]] = {
    "mlp": ("relu", "gelu", "relu2", "swiglu"),
    "position": ("learned", "sinusoidal", "rope"),
    "norm": ("layernorm", "rmsnorm"),
    "norm_placement": ("pre", "post"),
    "qk_norm": (False, True),
    "n_kv_head": (None, 2),  # of 6: each serves three query heads
    "bias": (False, True),
    "tie_embeddings": (False, True),
    "embedding_scale": (False, True),
    "attention": ("fused", "explicit"),
}
SHAPE = {"vocab_size": 53, "block_size": 23, "n_layer": 2, "n_head": 6, "n_embd": 60, "n_mlp": 41}

Pair = tuple[tuple[str, Any], tuple[str, Any]]


def pairs_in(row: dict[str, Any]) -> set[Pair]:
    """Every two choices made together."""
    return set(itertools.combinations(row.items(), 2))


def covering_rows() -> list[dict[str, Any]]:
    """A dozen or so rows in which every two choices meet; greedy: always the row that brings most new pairs."""
    product = [dict(zip(CHOICES, values, strict=True)) for values in itertools.product(*CHOICES.values())]
    candidates = product[::7]  # 7 shares no factor with the numbers of choices: a fair spread
    left = set().union(*map(pairs_in, product))
    rows = []
    while left:
        best = max(candidates, key=lambda row: len(pairs_in(row) & left))
        rows.append(best)
        left -= pairs_in(best)
    return rows


def name_of(row: dict[str, Any]) -> str:
    """A row as a test's name: strings as they are, flags only where they are set."""
    parts = [value if isinstance(value, str) else choice if value is True else "" for choice, value in row.items()]
    return "-".join(part for part in [*parts, "grouped" if row["n_kv_head"] else ""] if part)


ROWS = covering_rows()


@pytest.fixture(params=ROWS, ids=name_of)
def config(request: pytest.FixtureRequest) -> ModelConfig:
    """One of the configurations that together hold every pair of choices."""
    return ModelConfig(**SHAPE, **request.param)


@pytest.fixture
def covering_configs() -> list[ModelConfig]:
    """All of them."""
    return [ModelConfig(**SHAPE, **row) for row in ROWS]


@pytest.fixture(params=["learned", "sinusoidal", "rope"])
def position(request: pytest.FixtureRequest) -> str:
    """Each kind of position."""
    return request.param


@pytest.fixture
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


@pytest.fixture
def draw_ids() -> Callable[..., torch.Tensor]:
    """Random ids below 53, int64 (batch, length)."""

    def draw(batch: int, length: int, seed: int = 7) -> torch.Tensor:
        return torch.randint(53, (batch, length), generator=torch.Generator().manual_seed(seed))

    return draw
