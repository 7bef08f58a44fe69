"""Keys and values of tokens already seen, so that each new token costs one step instead of the whole window.

Legend: L layers, B batch, G key and value heads, S places of the cache, T new tokens, D head size.
"""

import torch
from torch import Tensor

from storyloom.config import ModelConfig


class KVCache:
    """Room for the keys and values of one window.

    Args:
        config: the model's.
        batch_size: rows, B.
        like: a tensor (a parameter, say) whose device the cache shares.
        dtype: of keys and values.
    """

    def __init__(self, config: ModelConfig, batch_size: int, like: Tensor, dtype: torch.dtype | None = None) -> None:
        shape = (config.n_layer, batch_size, config.kv_heads, config.block_size, config.head_size)
        self._keys = torch.empty(shape, device=like.device, dtype=dtype or like.dtype)
        self._values = torch.empty_like(self._keys)
        self.capacity = config.block_size
        self.length = 0  # tokens held; the model moves it on once all layers have stored theirs

    def store(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep a layer's new keys and values (B, G, T, D); returns all of its so far, (B, G, length + T, D)."""
        end = self.length + k.size(2)
        assert end <= self.capacity, f"{end} tokens in a cache for {self.capacity}"
        self._keys[layer, :, :, self.length : end] = k
        self._values[layer, :, :, self.length : end] = v
        return self._keys[layer, :, :, :end], self._values[layer, :, :, :end]

    def keep(self, rows: Tensor) -> None:
        """Keep only these rows, in this order; int64 (B',). A row may be kept twice, as beam search does."""
        self._keys, self._values = self._keys[:, rows], self._values[:, rows]
