"""How a token's place enters: added to its embedding, or rotated into queries and keys.

Legend: B batch, T tokens, C width, H heads, D head size. Places are those in the window, counted from 0: when a story
outgrows the block, its last part is a new window that starts at place 0.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from storyloom.config import ModelConfig


class Position(nn.Module):
    """A way for order to enter. Both methods leave their input as it is unless a subclass does something."""

    def add(self, x: Tensor, start: int) -> Tensor:
        """Token embeddings (B, T, C) of places `start` up to `start + T`, with their places."""
        return x

    def rotate(self, q: Tensor, start: int) -> Tensor:
        """Queries or keys (B, H, T, D) of places `start` up to `start + T`, turned by their places."""
        return q


class Learned(Position):
    """A learned vector for each place of the block (GPT-2)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.block_size, config.n_embd)

    def add(self, x: Tensor, start: int) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        return x + self.embedding.weight[start : start + x.size(1)]


class Sinusoidal(Position):
    """Fixed sines and cosines of falling frequency (Vaswani et al., 2017, arXiv 1706.03762, section 3.5)."""

    table: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        angles = _angles(config.block_size, config.n_embd, config.rope_theta)  # (block_size, C/2)
        table = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)  # sine and cosine take turns
        self.register_buffer("table", table, persistent=False)

    def add(self, x: Tensor, start: int) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        return x + self.table[start : start + x.size(1)].to(x.dtype)


class RoPE(Position):
    """Rotary positions: each pair of a head's features turns by an angle that grows with the place.

    Su et al., "RoFormer", 2021 (arXiv 2104.09864). The pairs are the halves, as in Llama: feature i turns with
    feature i + D/2.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        angles = _angles(config.block_size, config.head_size, config.rope_theta)  # (block_size, D/2)
        self.register_buffer("cos", angles.cos().repeat(1, 2), persistent=False)  # (block_size, D)
        self.register_buffer("sin", torch.cat([-angles.sin(), angles.sin()], dim=-1), persistent=False)

    def rotate(self, q: Tensor, start: int) -> Tensor:
        """(B, H, T, D) to (B, H, T, D)."""
        places = slice(start, start + q.size(2))
        cos, sin = self.cos[places].to(q.dtype), self.sin[places].to(q.dtype)
        swapped = q.roll(q.size(-1) // 2, dims=-1)  # (second half, first half)
        return q * cos + swapped * sin


def _angles(positions: int, width: int, theta: float) -> Tensor:
    """position * theta^(-2i / width) for i < width / 2, as (positions, width / 2)."""
    frequencies = torch.exp(torch.arange(0, width, 2) * (-math.log(theta) / width))
    return torch.outer(torch.arange(positions), frequencies)


POSITIONS: dict[str, Callable[[ModelConfig], Position]] = {
    "learned": Learned,
    "sinusoidal": Sinusoidal,
    "rope": RoPE,
}
