"""The GPT: embeddings, a stack of blocks, and a head. Radford et al., 2019; what differs is chosen by `ModelConfig`.

Legend: B batch, T tokens, C width, V vocabulary.
"""

import math
from collections.abc import Callable

from torch import Tensor, nn

from storyloom.config import ModelConfig
from storyloom.model.attention import CausalSelfAttention
from storyloom.model.kv_cache import KVCache
from storyloom.model.layers import MLPS, NORMS, Dropout
from storyloom.model.loss import summed_nats
from storyloom.model.positions import POSITIONS, Position


class Block(nn.Module):
    """Attention, then an MLP, each added to the residual stream. Normalised before each branch."""

    def __init__(self, config: ModelConfig, position: Position, layer: int) -> None:
        super().__init__()
        self.attn_norm = NORMS[config.norm](config.n_embd, config.bias, config.norm_eps)
        self.attn = CausalSelfAttention(config, position, layer)
        self.mlp_norm = NORMS[config.norm](config.n_embd, config.bias, config.norm_eps)
        self.mlp = MLPS[config.mlp](config)
        self.drop = Dropout(config.dropout)

    def forward(self, x: Tensor, cache: KVCache | None = None) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        x = x + self.drop(self.attn(self.attn_norm(x), cache))
        return x + self.drop(self.mlp(self.mlp_norm(x)))


class PostNormBlock(Block):
    """The same, normalised after each sum, as in the first Transformer."""

    def forward(self, x: Tensor, cache: KVCache | None = None) -> Tensor:
        """(B, T, C) to (B, T, C)."""
        x = self.attn_norm(x + self.drop(self.attn(x, cache)))
        return self.mlp_norm(x + self.drop(self.mlp(x)))


BLOCKS = {"pre": Block, "post": PostNormBlock}

SIGMA = 0.02  # of most initial weights, as in GPT-2


def scaled_residual(n_layer: int) -> float:
    """GPT-2's sigma for the last matrices of the 2 n_layer branches, whose outputs add up (Radford et al., 2019)."""
    return SIGMA / math.sqrt(2 * n_layer)


def zero_residual(n_layer: int) -> float:
    """No branch says anything at first: a pre-norm block is the identity (Zhang et al., 2019, arXiv 1901.09321).

    The first gradient reaches, in such a block, these matrices and their biases alone; the second reaches all. The
    paper does without norms and so makes the other weights smaller, too; here they start as with `scaled`.
    """
    return 0.0


RESIDUAL_INITS: dict[str, Callable[[int], float]] = {"scaled": scaled_residual, "zero": zero_residual}


class GPT(nn.Module):
    """A decoder-only Transformer.

    Args:
        config: with `vocab_size` filled in. The initial weights come from PyTorch's global generator.

    >>> import torch
    >>> model = GPT(ModelConfig(vocab_size=11, block_size=8, n_layer=2, n_head=2, n_embd=32))
    >>> model(torch.tensor([[1, 2, 3]])).shape
    torch.Size([1, 3, 11])
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.vocab_size is not None, "vocab_size comes from the data"
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.position = POSITIONS[config.position](config)
        self.drop = Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            BLOCKS[config.norm_placement](config, self.position, layer) for layer in range(config.n_layer)
        )
        pre_norm = config.norm_placement == "pre"  # the last post-norm block ends with a norm already
        self.norm = NORMS[config.norm](config.n_embd, config.bias, config.norm_eps) if pre_norm else nn.Identity()
        self.head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self._initialise()
        if config.tie_embeddings:
            self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """Logits of the token after each one.

        Args:
            ids: int64 (B, T), with T at most `block_size`, the tokens in the cache counted in.
            cache: of the tokens before; the new ones are added to it.

        Returns:
            (B, T, V).
        """
        return self.head(self.hidden(ids, cache))

    def hidden(self, ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """The last hidden state, before the head: int64 (B, T) to (B, T, C)."""
        start = cache.length if cache else 0
        assert start + ids.size(1) <= self.config.block_size, "more tokens than the block holds"
        x = self.embedding(ids)  # (B, T, C)
        if self.config.embedding_scale:
            x = x * math.sqrt(self.config.n_embd)
        x = self.drop(self.position.add(x, start))
        for block in self.blocks:
            x = block(x, cache)
        if cache:
            cache.length += ids.size(1)
        return self.norm(x)

    def nats(self, ids: Tensor, targets: Tensor) -> Tensor:
        """The summed surprise of the targets: -log p(target), in nats, over all that are not IGNORED (-100).

        Args:
            ids, targets: int64 (B, T).

        Returns:
            A float32 scalar.
        """
        return summed_nats(self.hidden(ids).flatten(0, 1), self.head.weight, targets.flatten())

    def _initialise(self) -> None:
        """Normal weights with sigma 0.02, as in GPT-2, so that the first loss is near ln(V).

        Branches' last matrices start as `residual_init` has it. The head starts at 2 / C where that is smaller: logits
        are sums over C features, and a tied head meets its own token in the stream.
        """
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2:
                continue  # gains stay 1; biases are zeroed below
            sigma = SIGMA
            if name in ("embedding.weight", "head.weight"):
                sigma = min(sigma, 2 / self.config.n_embd)
            elif name.endswith(("attn.out.weight", "mlp.down.weight")):
                sigma = RESIDUAL_INITS[self.config.residual_init](self.config.n_layer)
            nn.init.normal_(parameter, std=sigma)
        for module in self.modules():
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
