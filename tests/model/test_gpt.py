"""The whole model against a reference in numpy, and its laws: causality, rows apart, order matters, dropout."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from storyloom.config import ModelConfig
from storyloom.model import GPT

Weights = dict[str, np.ndarray]


def softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum()


def normalise(x: np.ndarray, kind: str, weights: Weights, name: str) -> np.ndarray:
    if kind == "rmsnorm":
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * weights[f"{name}.weight"]
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5)
    return scaled * weights[f"{name}.weight"] + weights.get(f"{name}.bias", 0.0)


def linear(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0.0)


def turn(head: np.ndarray, place: int) -> np.ndarray:
    """RoPE as a product of complex numbers: the halves are real and imaginary parts."""
    half = len(head) // 2
    angles = np.array([place / 10_000 ** (2 * i / len(head)) for i in range(half)])
    turned = (head[:half] + 1j * head[half:]) * np.exp(1j * angles)
    return np.concatenate([turned.real, turned.imag])


def attention(x: np.ndarray, config: ModelConfig, weights: Weights, name: str) -> np.ndarray:
    """One row (T, C), one head and one query at a time."""
    size, length = config.head_size, len(x)
    heads = linear(x, weights, f"{name}.qkv").reshape(length, -1, size)  # (T, H + 2G, D)
    n_q, n_kv = config.n_head, config.n_kv_head or config.n_head
    out = np.zeros((length, n_q, size))
    for h, t in itertools.product(range(n_q), range(length)):
        group = n_q + h * n_kv // n_q  # the place of the key head that serves query head h
        q, keys = heads[t, h], heads[:, group]
        if config.qk_norm:
            q, keys = (normalise(z, "rmsnorm", weights, f"{name}.{n}") for z, n in ((q, "q_norm"), (keys, "k_norm")))
        if config.position == "rope":
            q, keys = turn(q, t), np.stack([turn(key, s) for s, key in enumerate(keys)])
        chances = softmax(np.array([q @ keys[s] / math.sqrt(size) for s in range(t + 1)]))
        out[t, h] = sum(chance * heads[s, group + n_kv] for s, chance in enumerate(chances))
    return linear(out.reshape(length, -1), weights, f"{name}.out")


def mlp(x: np.ndarray, config: ModelConfig, weights: Weights, name: str) -> np.ndarray:
    if config.mlp == "swiglu":
        first, second = weights[f"{name}.gate_up.weight"][: config.mlp_width], weights[f"{name}.gate_up.weight"][41:]
        gate = x @ first.T
        return linear(gate / (1 + np.exp(-gate)) * (x @ second.T), weights, f"{name}.down")
    wide = linear(x, weights, f"{name}.up")
    if config.mlp == "gelu":
        wide = 0.5 * wide * (1 + np.tanh(np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3)))
    else:
        wide = np.maximum(wide, 0) ** (2 if config.mlp == "relu2" else 1)
    return linear(wide, weights, f"{name}.down")


def places(config: ModelConfig, length: int, weights: Weights) -> Any:
    if config.position == "learned":
        return weights["position.embedding.weight"][:length]
    if config.position == "rope":
        return 0.0
    table = np.zeros((length, config.n_embd))
    for place, feature in itertools.product(range(length), range(config.n_embd)):
        angle = place / 10_000 ** (feature // 2 * 2 / config.n_embd)
        table[place, feature] = math.cos(angle) if feature % 2 else math.sin(angle)
    return table


def reference_logits(model: GPT, ids: list[int]) -> np.ndarray:
    """The logits of one row, (T, V), with nothing of PyTorch's but the weights."""
    config = model.config
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    x = weights["embedding.weight"][ids] * (math.sqrt(config.n_embd) if config.embedding_scale else 1.0)
    x = x + places(config, len(ids), weights)
    for layer in range(config.n_layer):
        name = f"blocks.{layer}"
        for branch, compute in (("attn", attention), ("mlp", mlp)):
            norm = f"{name}.{branch}_norm"
            if config.norm_placement == "pre":
                x = x + compute(normalise(x, config.norm, weights, norm), config, weights, f"{name}.{branch}")
            else:
                x = normalise(x + compute(x, config, weights, f"{name}.{branch}"), config.norm, weights, norm)
    if config.norm_placement == "pre":
        x = normalise(x, config.norm, weights, "norm")
    return x @ weights["embedding.weight" if config.tie_embeddings else "head.weight"].T


@torch.no_grad()
def test_logits_equal_the_reference(config: ModelConfig, make_model: Callable, draw_ids: Callable) -> None:
    model, ids = make_model(config), draw_ids(3, 11)
    expected = np.stack([reference_logits(model, row) for row in ids.tolist()])
    np.testing.assert_allclose(model(ids).numpy(), expected, rtol=2e-5, atol=2e-5)


def test_the_configurations_hold_every_pair_of_choices(covering_configs: list[ModelConfig]) -> None:
    rows = [config.model_dump() for config in covering_configs]
    for name, other in itertools.combinations(["position", "norm", "norm_placement", "mlp", "qk_norm", "bias"], 2):
        met = {(row[name], row[other]) for row in rows}
        assert len(met) == len({row[name] for row in rows}) * len({row[other] for row in rows})
    assert len(rows) <= 20


@torch.no_grad()
def test_a_token_never_changes_logits_before_it(config: ModelConfig, make_model: Callable, draw_ids: Callable) -> None:
    model, ids = make_model(config), draw_ids(2, 13)
    before = model(ids)
    for t in range(13):
        changed = ids.clone()
        changed[:, t] = (changed[:, t] + 1) % 53
        after = model(changed)
        torch.testing.assert_close(after[:, :t], before[:, :t], rtol=0, atol=1e-12)
        assert (after[:, t] - before[:, t]).abs().amax(-1).min() > 1e-3


@torch.no_grad()
def test_token_0_reaches_the_last_logits_in_one_layer(
    config: ModelConfig, make_model: Callable, draw_ids: Callable
) -> None:
    """Caught elsewhere: heads split by a bare reshape, without a transpose, see a part of the positions only."""
    model, ids = make_model(config.with_(n_layer=1)), draw_ids(5, 23)
    changed = ids.clone()
    changed[:, 0] = (changed[:, 0] + 1) % 53
    assert (model(changed)[:, -1] - model(ids)[:, -1]).abs().amax(-1).min() > 1e-6


@torch.no_grad()
def test_order_matters_in_one_layer(config: ModelConfig, make_model: Callable) -> None:
    """Without positions one causal layer sees the tokens before as a bag."""
    model = make_model(config.with_(n_layer=1))
    one, other = model(torch.tensor([[3, 5, 7, 11]])), model(torch.tensor([[5, 3, 7, 11]]))
    assert (one[:, -1] - other[:, -1]).abs().max() > 1e-4


@torch.no_grad()
def test_rows_do_not_influence_each_other(config: ModelConfig, make_model: Callable, draw_ids: Callable) -> None:
    model, ids = make_model(config), draw_ids(5, 13)
    together = model(ids)
    for row in range(5):
        torch.testing.assert_close(model(ids[row : row + 1]), together[row : row + 1], rtol=1e-10, atol=1e-10)


def test_nats_are_the_summed_surprise_of_targets_that_count(make_model: Callable, draw_ids: Callable) -> None:
    model = make_model(ModelConfig(vocab_size=53, block_size=23, n_layer=1, n_head=2, n_embd=28))
    ids, targets = draw_ids(3, 11), draw_ids(3, 11, seed=8)
    targets[1, 4:] = -100
    chances = model(ids).softmax(-1).tolist()
    expected = -sum(
        math.log(chances[b][t][targets[b, t]]) for b in range(3) for t in range(11) if not (b == 1 and t >= 4)
    )
    assert model.nats(ids, targets).item() == pytest.approx(expected, rel=1e-6)


def test_a_tied_head_is_the_embedding(small_model: ModelConfig) -> None:
    tied, untied = GPT(small_model), GPT(small_model.with_(tie_embeddings=False))
    assert tied.head.weight is tied.embedding.weight
    assert not torch.equal(untied.head.weight, untied.embedding.weight)


@pytest.mark.parametrize("attention", ["fused", "explicit"])
def test_dropout_acts_in_training_mode_only(attention: str, small_model: ModelConfig, draw_ids: Callable) -> None:
    model = GPT(small_model.with_(dropout=0.5, attention=attention))
    ids = draw_ids(2, 13)
    plain = GPT(small_model)
    plain.load_state_dict(model.state_dict())
    assert not torch.equal(model.train()(ids), model(ids))
    torch.testing.assert_close(model.eval()(ids), plain.eval()(ids))


@pytest.mark.parametrize("attention", ["fused", "explicit"])
def test_attention_weights_are_dropped_too(attention: str, small_model: ModelConfig) -> None:
    """The branch's own dropout comes after the attention module: what is random within it is the weights."""
    module = GPT(small_model.with_(dropout=0.5, attention=attention)).blocks[0].attn
    x = torch.randn(2, 13, 28, generator=torch.Generator().manual_seed(3))
    assert not torch.equal(module.train()(x), module(x))
    assert torch.equal(module.eval()(x), module(x))


def test_the_same_seed_gives_the_same_initial_weights(small_model: ModelConfig) -> None:
    models = []
    for seed in (3, 3, 5):
        torch.manual_seed(seed)
        models.append(torch.cat([parameter.flatten() for parameter in GPT(small_model).parameters()]))
    assert torch.equal(models[0], models[1])
    assert not torch.equal(models[0], models[2])
