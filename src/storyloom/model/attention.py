"""Causal self-attention, with PyTorch's fused kernel or written out. Vaswani et al., 2017 (arXiv 1706.03762).

Legend: B batch, T new tokens, S tokens attended to (S >= T; the last T of them are the new ones), C width, H query
heads, G key and value heads, D head size.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from storyloom.config import ModelConfig
from storyloom.model.kv_cache import KVCache
from storyloom.model.layers import RMSNorm, dropout
from storyloom.model.positions import Position


def causal_mask(t: int, s: int, device: torch.device) -> Tensor:
    """Which of `s` tokens each of the last `t` may look at, bool (t, s): itself and all before it.

    >>> causal_mask(2, 3, torch.device("cpu")).int()
    tensor([[1, 1, 0],
            [1, 1, 1]], dtype=torch.int32)
    """
    return torch.ones(t, s, dtype=torch.bool, device=device).tril(s - t)


def sdpa_attention(q: Tensor, k: Tensor, v: Tensor, p: float) -> Tensor:
    """Attention by PyTorch's kernel, which never builds the (T, S) weights.

    Args:
        q: queries, (B, H, T, D). k, v: keys and values, (B, H, S, D).
        p: probability of dropping a weight.

    Returns:
        (B, H, T, D).
    """
    t, s = q.size(2), k.size(2)
    if t == s:
        return F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)
    mask = None if t == 1 else causal_mask(t, s, q.device)  # one token looks at everything
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p)


def attention_weights(q: Tensor, k: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(D)) over the tokens each may look at: (B, H, T, D) and (B, H, S, D) to (B, H, T, S)."""
    t, s = q.size(2), k.size(2)
    scores = (q / math.sqrt(q.size(-1))) @ k.transpose(-2, -1)  # (B, H, T, S); q is smaller than the scores
    if t > 1:  # one token looks at everything
        scores = scores + torch.full((t, s), -torch.inf, dtype=q.dtype, device=q.device).triu(s - t + 1)
    return scores.softmax(dim=-1)


def eager_attention(q: Tensor, k: Tensor, v: Tensor, p: float) -> Tensor:
    """The same as `sdpa_attention`, written out; in bf16 on CPUs the faster for short windows.

    It builds the (T, S) weights of every head, so that its memory grows with the square of the window.
    """
    weights = attention_weights(q, k)
    return (dropout(weights, p) if p else weights) @ v


ATTENTIONS: dict[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]] = {
    "sdpa": sdpa_attention,
    "eager": eager_attention,
}


class CausalSelfAttention(nn.Module):
    """Every token gathers from the tokens before it, by H heads side by side.

    Args:
        config: the model's.
        position: turns queries and keys by their places, where the model's positions do that.
        layer: index of the block, its place in the cache.
    """

    def __init__(self, config: ModelConfig, position: Position, layer: int) -> None:
        super().__init__()
        self.heads = (config.n_head, config.kv_heads, config.kv_heads)
        self.head_size, self.layer, self.dropout = config.head_size, layer, config.dropout
        self.attend = ATTENTIONS[config.attention]
        self.rotate = position.rotate  # the method alone: the model owns the module, not each of its blocks
        self.qkv = nn.Linear(config.n_embd, sum(self.heads) * config.head_size, bias=config.bias)
        self.out = nn.Linear(config.n_head * config.head_size, config.n_embd, bias=config.bias)
        self.q_norm = RMSNorm(config.head_size, eps=config.norm_eps) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(config.head_size, eps=config.norm_eps) if config.qk_norm else nn.Identity()

    def forward(self, x: Tensor, cache: KVCache | None = None) -> Tensor:
        """(B, T, C) to (B, T, C); with a cache the T tokens follow those it holds."""
        q, k, v = self.project(x, cache.length if cache else 0)
        if cache:
            k, v = cache.store(self.layer, k, v)  # (B, G, S, D)
        y = self.attend(q, self._share(k), self._share(v), self.dropout if self.training else 0.0)
        return self.out(y.transpose(1, 2).flatten(2))  # heads side by side: (B, T, H D) to (B, T, C)

    def project(self, x: Tensor, start: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, T, D), keys and values (B, G, T, D) of tokens at places `start` and on."""
        heads = self.qkv(x).unflatten(-1, (-1, self.head_size)).transpose(1, 2)  # (B, H + 2G, T, D)
        q, k, v = heads.split(self.heads, dim=1)
        q = self.rotate(self.q_norm(q), start)
        k = self.rotate(self.k_norm(k), start)
        return q, k, v

    def weights(self, x: Tensor) -> Tensor:
        """Who looks at whom: (B, T, C) to (B, H, T, T); each row sums to 1."""
        q, k, _ = self.project(x, 0)
        return attention_weights(q, self._share(k))

    def _share(self, k: Tensor) -> Tensor:
        """Repeat each key or value head for the query heads it serves: (B, G, S, D) to (B, H, S, D)."""
        n_head, n_kv_head, _ = self.heads
        return k if n_head == n_kv_head else k.repeat_interleave(n_head // n_kv_head, dim=1)
