"""The model's choices: rows that hold every pair of them, and any other configuration drawn by hypothesis."""

import itertools
import random
from collections.abc import Callable
from typing import Any

import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from storyloom.config import ModelConfig

CHOICES: dict[str, tuple[Any, ...]] = {
    "mlp": ("relu", "gelu", "relu2", "swiglu"),
    "position": ("learned", "sinusoidal", "rope"),
    "norm": ("layernorm", "rmsnorm"),
    "norm_placement": ("pre", "post"),
    "qk_norm": (False, True),
    "n_kv_head": (None, 2),  # of 6: each serves three query heads
    "head_dim": (None, 14),
    "bias": (False, True),
    "tie_embeddings": (False, True),
    "embedding_scale": (False, True),
    "residual_init": ("scaled", "zero"),
    "attention": ("sdpa", "eager"),
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
    more = ["grouped" if row["n_kv_head"] else "", "own heads" if row["head_dim"] else ""]
    return "-".join(part for part in [*parts, *more] if part)


ROWS = covering_rows()


@st.composite
def configs(draw: st.DrawFn) -> ModelConfig:
    """Any choices in any shape they allow, small."""
    chosen = {name: draw(st.sampled_from(values)) for name, values in CHOICES.items()}
    heads = draw(st.integers(1, 7))
    chosen["n_kv_head"] = draw(st.sampled_from([None, *(n for n in range(1, heads + 1) if heads % n == 0)]))
    width = heads * draw(st.integers(1, 5)) * (1 if chosen["position"] == "learned" else 2)
    assume(width > 5)  # LayerNorm makes -1 and 1 of any two features, whatever the token
    return ModelConfig(
        **chosen,
        norm_eps=draw(st.sampled_from([None, 1e-3])),
        rope_theta=draw(st.sampled_from([10_000.0, 31.0])),
        vocab_size=draw(st.integers(11, 97)),
        block_size=draw(st.integers(2, 19)),
        n_layer=draw(st.integers(1, 3)),
        n_head=heads,
        n_embd=width,
        n_mlp=draw(st.none() | st.integers(11, 31)),
    )


def over_models(law: Callable[..., None]) -> Callable[..., None]:
    """Hold a law, `law(config, seed)`, for the rows that cover every pair of choices and for configurations drawn."""
    for row in ROWS:
        law = example(config=ModelConfig(**SHAPE, **row), seed=7)(law)
    law = given(config=configs(), seed=st.integers(0, 96))(law)
    return settings(max_examples=60, deadline=None, derandomize=True)(law)


def draw_batch(config: ModelConfig, seed: int, shortest: int = 1) -> torch.Tensor:
    """Random ids, int64 (B, T): up to 5 rows of `shortest` up to `block_size` tokens."""
    dice = random.Random(seed)
    size = (dice.randint(1, 5), dice.randint(shortest, config.block_size))
    return torch.randint(config.vocab_size or 0, size, generator=torch.Generator().manual_seed(seed))
