"""Decoding with a cache equals the full forward, however the tokens are portioned."""

import random
from collections.abc import Callable

import pytest
import torch

from storyloom.config import ModelConfig
from storyloom.model import GPT, KVCache

from .choices import draw_batch, over_models


@torch.no_grad()
@pytest.mark.parametrize("portions", [[7] + [1] * 16, [5, 6] + [1] * 12, [1] * 23, [3, 1, 19], [23]])
def test_cached_logits_equal_the_full_forward(
    config: ModelConfig, portions: list[int], make_model: Callable, draw_ids: Callable
) -> None:
    """Prefill and single steps; prefill in two chunks; single steps alone; a chunk behind a step; all at once."""
    model, ids = make_model(config), draw_ids(3, 23)
    cache = KVCache(config, 3, like=model.embedding.weight)
    parts = [model(part, cache) for part in ids.split(portions, dim=1)]
    assert cache.length == cache.capacity == 23
    torch.testing.assert_close(torch.cat(parts, dim=1), model(ids), rtol=1e-9, atol=1e-9)


@over_models
@torch.no_grad()
def test_any_portions_give_the_logits_of_the_full_forward(config: ModelConfig, seed: int, make_model: Callable) -> None:
    model, ids = make_model(config), draw_batch(config, seed)
    cuts = sorted(random.Random(seed).choices(range(1, ids.size(1) + 1), k=3))  # two may be alike: nothing in between
    cache = KVCache(config, ids.size(0), like=model.embedding.weight)
    parts = [model(part, cache) for part in ids.tensor_split(cuts, dim=1) if part.size(1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(ids), rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_rows_can_be_kept_dropped_and_doubled(config: ModelConfig, make_model: Callable, draw_ids: Callable) -> None:
    model, ids, more = make_model(config), draw_ids(5, 7), draw_ids(3, 4, seed=8)
    cache = KVCache(config, 5, like=model.embedding.weight)
    model(ids, cache)
    rows = torch.tensor([4, 1, 4])
    cache.keep(rows)
    expected = model(torch.cat([ids[rows], more], dim=1))[:, 7:]
    torch.testing.assert_close(model(more, cache), expected, rtol=1e-9, atol=1e-9)


def test_a_full_cache_takes_no_more(small_model: ModelConfig) -> None:
    cache = KVCache(small_model, 2, like=torch.empty(0))
    cache.length = 22
    cache.store(0, torch.ones(2, 2, 1, 14), torch.ones(2, 2, 1, 14))
    with pytest.raises(AssertionError, match="24 tokens in a cache for 23"):
        cache.store(0, torch.ones(2, 2, 2, 14), torch.ones(2, 2, 2, 14))


def test_the_cache_keeps_key_heads_only() -> None:
    """Grouped queries make it smaller: (layers, rows, key heads, block, head size)."""
    config = ModelConfig(n_layer=3, n_head=14, n_kv_head=7, n_embd=28, block_size=11)
    k = torch.arange(5 * 7 * 2 * 2).reshape(5, 7, 2, 2).float()
    cache = KVCache(config, 5, like=torch.empty(0))
    keys, values = cache.store(2, k, -k)
    assert torch.equal(keys, k)
    assert torch.equal(values, -k)
    assert cache.length == 0  # the model moves it on, once all layers have stored theirs


def test_a_step_beyond_the_block_is_our_mistake(small_model: ModelConfig) -> None:
    """It once gave logits of shape (B, 0, V): the empty slice of the position table broadcast the token away."""
    model = GPT(small_model)
    cache = KVCache(small_model, 3, like=model.embedding.weight)
    model(torch.zeros(3, 23, dtype=torch.long), cache)
    with pytest.raises(AssertionError, match="more tokens than the block holds"):
        model(torch.zeros(3, 1, dtype=torch.long), cache)
