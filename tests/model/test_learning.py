"""A tiny model learns one batch by heart, and the same way each time."""

from collections.abc import Callable

import pytest
import torch

from storyloom.config import ModelConfig
from storyloom.model import GPT

SHAPE = {"vocab_size": 53, "block_size": 19, "n_layer": 2, "n_head": 2, "n_embd": 44}
KINDS = [
    {"position": "rope", "qk_norm": True, "residual_init": "zero"},
    {"position": "learned", "norm": "layernorm", "mlp": "gelu", "bias": True},
    {"position": "sinusoidal", "norm_placement": "post", "mlp": "relu", "tie_embeddings": False},
    {"position": "rope", "mlp": "relu2", "n_kv_head": 1, "embedding_scale": True, "attention": "eager"},
]


def learn(config: ModelConfig, ids: torch.Tensor, steps: int) -> list[float]:
    """The losses of AdamW on one batch, nats/token."""
    torch.manual_seed(5)
    model = GPT(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, betas=(0.9, 0.95))
    losses = []
    for _ in range(steps):
        loss = model.nats(ids[:, :-1], ids[:, 1:]) / ids[:, 1:].numel()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if losses[-1] < 0.05:
            break
    return losses


@pytest.mark.parametrize("choices", KINDS, ids=lambda choices: choices["position"])
def test_one_batch_is_learned_by_heart(choices: dict[str, object], draw_ids: Callable) -> None:
    ids = draw_ids(3, 20)
    ids[:, 0] = torch.tensor([1, 2, 3])  # rows differ from the start, so that every target can be known
    losses = learn(ModelConfig(**SHAPE, **choices), ids, steps=300)
    assert losses[-1] < 0.05
    assert losses[0] > 3.5


@pytest.mark.parametrize("choices", KINDS[:2], ids=lambda choices: choices["position"])
def test_learning_is_deterministic(choices: dict[str, object], draw_ids: Callable) -> None:
    config, ids = ModelConfig(**SHAPE, **choices, dropout=0.3), draw_ids(3, 20)
    assert learn(config, ids, steps=7) == learn(config, ids, steps=7)
